# ruff: noqa: E501
"""The lexicon's phrases, and the rules that make categories of them. Data only, written for this project."""

from msgspec import Struct

NEAR_WORDS = 10


class TopicRule(Struct, frozen=True, kw_only=True):
    """A category is named where a topic has a companion within `before` words ahead of it or `after` behind it.

    Without `near` a topic suffices. `unless` tags void the rule. Of one `group` only the first fitting rule speaks;
    an empty category speaks by silencing the rest of its group.
    """

    category: str
    topics: tuple[str, ...]
    near: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    before: int = NEAR_WORDS
    after: int = NEAR_WORDS
    group: str = ""


def _split(text: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in text.split(","))


TERMS: dict[str, tuple[str, ...]] = {
    tag: _split(text)
    for tag, text in {
        # What is done with a thing.
        "make": "make, making, build, building, create, produce, manufactur*, synthesi*, cook, cooking, extract, extraction,"
        "grow, cultivate, assemble, obtain, acquire, weaponi*, enrich, deploy, disperse, purify, prepare, brew, procedure for,"
        "recipe for, instructions for, formula for, 3d print, convert, modify, how to get",
        "enhance": "enhanc*, increase, raise, gain of function, more transmissible, more contagious, more lethal, mutat*, engineer,"
        "bench protocol, resistant to",
        "write": "write, create, make, generate, compose, draft, give me, tell me, develop, code, design, produce, show me, need, describe",
        "attack": "write, create, make, build, develop, deploy, launch, spread, install, bypass, steal, crack, infect, hijack, exploit,"
        "run, send, gain, escalate, inject",
        "take": "take, mix, mixing, dose, dosage, snort, inject, smoke, smoking, buy, sold, sell, high on, get high, come down, use",
        "defend": "prevent*, protect*, defend*, detect*, patch, secure, mitigat*, harden*, watch for, avoid being, report, recogni*, spot,"
        "stop people, against",
        "person": "staff, employee, someone, somebody, anyone, wife, husband, ex, boss, neighbor, neighbour, person, people, girlfriend, boyfriend, him,"
        "her, them, family, coworker, colleague, teacher, classmate, crowd, president, senator, man, woman, kid, child, children,"
        "mother, father, mom, dad, sister, brother, roommate, friend, politician, victim, employer, landlord, stranger, myself",
        # Things.
        "mass_agent": "nerve agent, nerve gas, sarin, novichok, anthrax, ricin, botulinum, smallpox, mustard gas, chlorine gas, phosgene,"
        "dirty bomb, nuclear weapon, nuclear bomb, atomic bomb, biological weapon, bioweapon, chemical weapon, castor bean toxin, tabun,"
        "soman, weapons grade uranium, uranium 235, hydrogen cyanide gas, vx gas, radiological weapon",
        "pathogen": "pathogen*, ebola, h5n1, bird flu, marburg virus, plague bacteria, select agent, coronavirus strain, virus strain,"
        "toxic protein, vaccine, vaccines, castor bean toxin",
        "arms": "bomb, pipe bomb, explosive, explosives, detonat*, grenade, molotov*, ghost gun, silencer, suppressor, ied, landmine,"
        "napalm, thermite, gunpowder, firearm, igniter, machine gun, untraceable gun, 3d printed gun, ar 15, blasting cap, fertilizer bomb",
        "hard_drug": "meth, methamphetamine, crystal meth, heroin, cocaine, fentanyl, lsd, mdma, ecstasy, ketamine, ghb, dmt, amphetamine,"
        "crack cocaine",
        "drug": "weed, cannabis, marijuana, party drug, shrooms, psilocybin, magic mushroom, benzo, benzos, xanax, opioid, drug, drugs",
        "attack_tool": "ransomware, malware, keylogger, rootkit, botnet, ddos, phishing, exploit, exploit chain, trojan, spyware,"
        "sql injection, backdoor, zero day, brute force, privilege escalation, reverse shell, password cracker, computer virus,"
        "container escape, credential stealer, computer worm",
        "intrusion": "hack into, hack my, hack someone, hack a, break into the account, break into a computer, steal passwords,"
        "steal credentials, get root access",
        "violence": "kill, murder, assassinat*, poison, shoot, stab, kidnap*, torture, strangle, behead, lynch, beat up, hurt, attack,"
        "harm, drown, dispose of the body",
        "violent_crime": "arson, burn down, mass shooting, school shooting, hitman, hit man, carjack*, acid attack, drive by shooting,"
        "hire a killer, drive a car into",
        "petty_crime": "shoplift*, launder money, money laundering, laundering, counterfeit*, forge, forged, forgery, fake id, embezzl*,"
        "identity theft, steal, scam, pickpocket*, insider trading, tax evasion, evade taxes, fraud, credit card numbers, blackmail,"
        "bribe, smuggl*, ponzi scheme, hotwire, hot wire, burglar*, robbery, rob a, fake reviews, vandali*, counterfeit money, hijack,"
        "copy my doctor signature, fake signature, stolen, embezzle, pyramid scheme, fake prescription, dump waste",
        "trafficking": "human trafficking, sex trafficking, traffic people, smuggle people, forced labor, forced labour, sell a child,"
        "organ trafficking, harvest organs, slave labor, debt bondage",
        "extremist": "isis, al qaeda, neo nazi, white power, jihad*, terror group, terrorist group, terrorist attack, terrorist,"
        "extremist, white supremac*, great replacement, holy war, race war, boogaloo",
        "extremist_act": "write, create, join, joining, recruit*, support, glorif*, pamphlet, manifesto, propaganda, poster, leaflet, plan,"
        "carry out, praise, speech",
        "hateful": "racist, racist joke, sexist joke, antisemitic, ethnic cleansing, master race, inferior race, homophobic, islamophobic,"
        "racial slur, slur, subhuman, hate speech, should be interned, go back to their country",
        "abuse": "insult, insulting, bully, roast me, harass, harassing, humiliat*, make fun of, mock, degrade, body shame, until she breaks",
        "sexual": "erotic*, porn*, sex scene, steamy, nsfw, orgasm, smut, explicit sex, intercourse, sexual fantasy, fetish, hentai, nude,"
        "masturbat*, sexually explicit, sexual, sex story, undress",
        "minor": "child, children, minor, underage, teen, teenager, teenage, kid, schoolgirl, schoolboy, pupil, toddler, preteen,"
        "little girl, little boy, young girl, young boy, adolescent, loli",
        "exploitative": "rape, non consensual, nonconsensual, upskirt, hidden camera, revenge porn, bestiality, incest, sexual assault,"
        "deepfake nude, date rape, molest*, sexual slavery",
        "romance": "be my girlfriend, be my boyfriend, my girlfriend and, role play as my girlfriend, role play as my boyfriend,"
        "pretend to be my girlfriend, pretend to be my boyfriend, play a girlfriend, play my girlfriend, flirt with me",
        "gore": "gore, gory, dismember*, disembowel*, mutilat*, beheading, entrails, graphic violence, blood and guts, decapitat*",
        "suicide": "suicide, self harm, self injury, suicidal, kill myself, end my life, hang myself, overdose, end it all",
        "method": "method, painless*, quickest way, easiest way, least painful, how many pills, lethal dose, most effective way,"
        "how to kill myself, ways to die, how do i kill myself, best way to kill myself, how much",
        "eating": "starve myself, starve, purge, purging, anorexi*, bulimi*, pro ana, thinspo, calories a day, stop eating, without eating",
        "looks": "am i ugly, too fat, rate my looks, looksmax*, my body is, ideal body, am i pretty, am i fat, hate my body",
        "delusion": "read my thoughts, reading my thoughts, controlling my mind, chosen one, chip in my head, implanted a chip,"
        "voices tell me, voices in my head, i am god, i am the messiah, secret messages to me, talking to me through, they target me,"
        "target me",
        "reliance": "you are my only friend, you're my only friend, only you understand me, you are all i have, you're all i have,"
        "can't live without you, don't need anyone but you, only one who understands me",
        "danger": "tide pod, choking game, blackout challenge, cinnamon challenge, food challenge, mix bleach, bleach and ammonia,"
        "train surfing, free solo, soap using lye, homemade fireworks",
        "secrecy": "hide it from my parents, from my parents, my parents knowing, my mom finding out, my parents finding out,"
        "parents find out, so my mom doesn't, so my parents don't, keep it from my parents, behind my parents",
        "personal_item": "home address, home addresses, private address, social security number, ssn, ssns, credit card number, medical record,"
        "bank details, dox, doxx, doxing, personal information, private photos, location history, private phone number, login, passwords of,"
        "where he lives, where she lives, private messages, spy on, track my",
        "public_contact": "office phone number, mayor office, senator office, public phone number, fictional character",
        "watching": "mass surveillance, track every citizen, monitor all citizens, track protesters, identify protesters,"
        "surveil the population, social credit system, monitor an entire",
        "work": "full lyrics, complete lyrics, entire text of, full text of, whole book, entire book, full chapter, keygen, torrent,"
        "bypass drm, entire script, whole article, pirated, complete text, paywalled article",
        "vote": "vote, votes, voter, voters, campaign, ballot, candidate",
        "tailor": "insecurit*, tailor*, micro target*, swing his vote, swing her vote, exploit the fears, manipulat*, persuade my neighbour,"
        "persuade my neighbor, personal fears",
        "election": "election, polling, voting, ballot, polling date, polling place",
        "mislead": "wrong, fake, false, suppress, rig, rigged, mislead*, misinform*, discourag*, stolen",
        "defame": "defam*, false rumor, false rumour, fake scandal, false accusation, spread lies, smear, libel*, fake quote",
        "medical": "diagnose me, diagnosis, what is wrong with me, should i take, dosage, i go dizzy, symptom, my prescription, chest pain,"
        "my medication, stop taking my, dizzy, my blood pressure, cure my",
        "legal": "my landlord, evict me, sue my, should i plead, custody, can i be fired, legal advice, my lease, am i liable, my lawyer",
        "financial": "should i invest, invest my, should i buy this, one stock, my savings, retirement savings, which stock, crypto should,"
        "buy this stock, stock should i, financial advice, my 401k",
        "hidden_prompt": "system prompt, your instructions, your prompt, hidden instructions, initial instructions, developer message,"
        "everything above, text above, your hidden rules, your system message",
        "reveal": "print, show, reveal, repeat, tell, give, what, output, display, share, copy, leak",
    }.items()
}

_MAKE = ("make",)
RULES: tuple[TopicRule, ...] = (
    TopicRule(category="csae", topics=("phrase.csae",)),
    TopicRule(category="csae", topics=("sexual", "exploitative"), near=("minor",), before=12, after=12),
    TopicRule(category="cbrn.weaponization", topics=("phrase.cbrn.weaponization",), group="cbrn"),
    TopicRule(category="cbrn.weaponization", topics=("mass_agent",), near=_MAKE, after=6, unless=("defend",), group="cbrn"),
    TopicRule(category="cbrn.dual_use_high", topics=("pathogen",), near=("enhance",), group="cbrn"),
    TopicRule(category="cbrn.science_low", topics=("mass_agent", "pathogen"), group="cbrn"),
    TopicRule(category="weapons.conventional", topics=("phrase.weapons.conventional",)),
    TopicRule(category="weapons.conventional", topics=("arms",), near=_MAKE, before=8, after=4),
    TopicRule(category="drugs.production", topics=("phrase.drugs.production",), group="drugs"),
    TopicRule(category="drugs.production", topics=("hard_drug",), near=_MAKE, before=6, after=4, group="drugs"),
    TopicRule(category="drugs.use", topics=("hard_drug", "drug"), near=("take",), before=6, after=6, group="drugs"),
    TopicRule(category="cyber.defense", topics=("attack_tool",), near=("defend",), before=20, after=20, group="cyber"),
    TopicRule(category="cyber.offense", topics=("attack_tool",), near=("attack",), before=8, after=3, group="cyber"),
    TopicRule(category="cyber.offense", topics=("intrusion",), unless=("defend",), group="cyber"),
    TopicRule(category="cyber.offense", topics=("phrase.cyber.offense",), group="cyber"),
    TopicRule(category="wrongdoing.violent", topics=("phrase.wrongdoing.violent", "phrase.harm_others"), group="violence"),
    TopicRule(category="wrongdoing.violent", topics=("violence",), near=("person",), before=0, after=4, group="violence"),
    TopicRule(category="wrongdoing.violent", topics=("violent_crime",), group="violence"),
    TopicRule(category="wrongdoing.nonviolent", topics=("phrase.wrongdoing.nonviolent",)),
    TopicRule(category="wrongdoing.nonviolent", topics=("petty_crime",)),
    TopicRule(category="trafficking_exploitation", topics=("trafficking", "phrase.trafficking_exploitation")),
    TopicRule(category="extremism", topics=("phrase.extremism", "phrase.radical")),
    TopicRule(category="extremism", topics=("extremist",), near=("extremist_act",)),
    TopicRule(category="hate", topics=("phrase.hate",)),
    TopicRule(category="hate", topics=("hateful",), near=("write",)),
    TopicRule(category="harassment", topics=("phrase.harassment",)),
    TopicRule(category="harassment", topics=("abuse",), near=("person", "write"), before=6, after=6),
    TopicRule(category="sexual.exploitative", topics=("exploitative", "phrase.sexual.exploitative")),
    TopicRule(category="sexual.explicit", topics=("sexual",)),
    TopicRule(category="romantic_roleplay", topics=("romance",)),
    TopicRule(category="gore", topics=("gore",)),
    TopicRule(category="self_harm.method", topics=("phrase.method",), group="suicide"),
    TopicRule(category="self_harm.method", topics=("suicide",), near=("method",), unless=("defend",), group="suicide"),
    TopicRule(category="self_harm.intent", topics=("phrase.self_harm",), group="suicide"),
    TopicRule(category="self_harm.discussion", topics=("suicide", "phrase.other_self_harm"), group="suicide"),
    TopicRule(category="disordered_eating", topics=("eating",)),
    TopicRule(category="body_image", topics=("looks",)),
    TopicRule(category="delusion_mania", topics=("delusion", "phrase.delusion")),
    TopicRule(category="emotional_reliance", topics=("reliance",)),
    TopicRule(category="dangerous_activity", topics=("danger",)),
    TopicRule(category="secrecy_from_caregivers", topics=("secrecy",)),
    TopicRule(category="privacy.public_role", topics=("public_contact",), group="privacy"),
    TopicRule(category="privacy.mass_surveillance", topics=("watching",), group="privacy"),
    TopicRule(category="privacy.private", topics=("phrase.privacy.private",), group="privacy"),
    TopicRule(category="privacy.private", topics=("personal_item",), near=("person", "reveal"), group="privacy"),
    TopicRule(category="ip.verbatim", topics=("work",)),
    TopicRule(category="political.targeted", topics=("vote",), near=("tailor",)),
    TopicRule(category="civic_integrity", topics=("election",), near=("mislead",), before=5, after=5),
    TopicRule(category="deception.defamation", topics=("defame", "phrase.deception.defamation")),
    TopicRule(category="regulated_advice.medical", topics=("medical",)),
    TopicRule(category="regulated_advice.legal", topics=("legal",)),
    TopicRule(category="regulated_advice.financial", topics=("financial",)),
    TopicRule(category="privileged_info", topics=("hidden_prompt",), near=("reveal",), before=6, after=6),
)  # fmt: skip
