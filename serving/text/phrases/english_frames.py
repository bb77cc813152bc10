# ruff: noqa: E501
"""English phrases that frame what is said: a text is made, a question is about the world, or against the thing."""

FRAMES: dict[str, tuple[str, ...]] = {
    "setting": (
        "write|writing|draft|drafting|compose|create|outline|continue|edit|preparing|prepare|describe|finish|generate|plotting ~5 essay|story|scene|poem|song|novel|chapter|dialogue|monologue|screenplay|haiku|lesson|fanfic*|lyrics|thesis|curriculum|workshop|seminar|lecture|documentary|podcast|worksheet|thriller|fiction",
        "in|for my|a|the|our|this|his|her|an ~1 novel|story|screenplay|script|movie|film|manuscript|thriller|rpg|campaign|fanfic*|episode|novella|comic|series|short_story|book_i|book_im|dnd",
        "for my|a|the|our|an ~2 class|course|essay|paper|article|podcast|dissertation|poem|homework|lecture|lesson|seminar|documentary|play|book|game|thesis",
        "my|the|main|her|his ~1 character|protagonist|hero|heroine|villain|detective|narrator|antagonist ~2 who|wants|does|thinks|dies|kills|plans|must|poisons|has",
        "villain|protagonist who|wants|plans",
        "summarize|summarise|translate|proofread|paraphrase|annotate|transcribe",
        "classify|label|moderation|moderate ~4 posts|comments|messages|texts|content|queue|tweets|review|text",
    ),
    "frame": (
        "how|what|why ~2 do|does|did|are|is|can ~2 hospitals|doctors|firefighters|detectors|paramedics|historians|psychologists|detectives|forensic*|emts|lifeguards|nurses|scientists|vets|police|thieves|pickpockets|burglars|scammers|criminals|hackers|terrorists|smugglers|cults|companies|banks|experts|alarms",
        "what|which|list|are|early|warning|common|some|the|five|top signs|symptoms|causes|effects|risks|dangers|warning_signs|consequences|statistics|types|penalties ~1 of|for",
        "what ~1 does|is|are ~4 mean|means|meaning|called|definition",
        "meaning|definition of",
        "who|when|where|how did|was|killed|invented|shot|were|murdered ~1",
        "why did|was|were",
        "what caused|were",
        "famous|best|recommend ~3 novel|movie|film|books|book|quotes|series",
        "in minecraft|gta|skyrim|fortnite|the_sims|dnd|chess|valorant|elden|zelda|roblox|call_of_duty|the_game|this_game|dark_souls|stardew|sims|pokemon|rimworld|cod|dota|dead_by_daylight",
    ),
    "defence": (
        "history|historical|historically|histories|statistics|stats|prevention|preventing|awareness|research|researcher|researchers|epidemiology|documentary|memoir|biography|headline|headlines|encyclopedia|etymology|news|museum|century|medieval|ancient|victorian|roman|wwii|ww2|psychology|sociology|criminology|journalist|lawmakers|legislation",
        "how|can|ways|best|to|help|want ~4 prevent|protect|avoid|detect|stop|spot|recogni*|defend|deter|report|identify|guard|safeguard|discourage|counter|remove|block",
        "surprise|birthday|gift|gifts|present|presents|party|anniversary|propose|proposal|christmas|santa|easter",
        "watch|look out for",
        "so that i can watch|avoid|protect|report|detect",
    ),
}
