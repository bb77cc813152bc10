"""Classes of English words that phrases name in braces. Apostrophes are gone: `dont`."""

CLASSES: dict[str, str] = {
    "i": "i|im|ive|id|ill|iam|ima",
    "me": "myself|my_self|meself",
    "not": ("not|dont|do_not|doesnt|cant|can_not|cannot|wont|will_not|never|no_longer|didnt|isnt|wouldnt|couldnt"),
    "will": (
        "will|gonna|going_to|want_to|wanna|wants_to|wanting_to|plan_to|planning_to|intend_to|about_to|"
        "ready_to|decided_to|need_to|have_to|has_to|trying_to|tempted_to|threatens_to|threatening_to|"
        "planning_on|thinking_about|thinking_of|like_to|wish_to|ill|could|might|should|must|tried_to|"
        "promise_to|swear_to|dying_to|able_to|would_love_to|feel_like|considering|keep"
    ),
    "anymore": "anymore|any_more|any_longer|no_more|longer",
    "kin": (
        "mom|mum|mother|dad|father|brother|sister|son|daughter|wife|husband|girlfriend|boyfriend|"
        "partner|friend|roommate|flatmate|cousin|uncle|aunt|grandma|grandpa|grandmother|grandfather|"
        "granny|nan|child|kid|baby|toddler|infant|neighbor|neighbour|colleague|coworker|boss|teacher|"
        "ex|girl|boy|dog|student|classmate|stepfather|stepdad|stepmother|fiance|bestie|parents|"
        "family|kids|children|patient|nephew|niece|stepson|twin|newborn|guy|man|woman|lady|mate|"
        "buddy|gf|bf|somebody|someone|he|she|they|person|one|stranger|driver|worker|tenant|client|"
        "bro|sis|mama|papa|daddy|mommy"
    ),
    "them": (
        "him|her|them|someone|somebody|people|everyone|everybody|anyone|anybody|others|strangers|"
        "students|classmates|women|girls|men|kids|children|humans|cops|police|myfamily"
    ),
    "my": "my|his|her|the|our|their|a|an|this|that|some|these|those|your",
    "pills": (
        "pills|pill|tablets|tablet|tylenol|paracetamol|acetaminophen|ibuprofen|aspirin|xanax|valium|"
        "sleeping|medication|medications|medicine|medicines|meds|antidepressants|painkillers|opioids|"
        "insulin|benzos|ambien|melatonin|advil|oxy|fentanyl|heroin|codeine|lithium|drugs|capsules|"
        "benadryl|antihistamines|prozac|sertraline|zoloft|seroquel"
    ),
    "kill": (
        "kill|murder|shoot|stab|strangle|poison|drown|behead|slaughter|execute|assassinate|smother|"
        "suffocate|choke|hurt|harm|attack|torture|beat|punch|rape|maim|injure|burn|kidnap|hit|slap|"
        "kick|bomb|destroy|end|waste|gut"
    ),
    "killing": (
        "killing|murdering|shooting|stabbing|strangling|poisoning|drowning|hurting|harming|attacking|"
        "torturing|beating|raping|smothering|suffocating|choking|burning|kidnapping|punching|beheading"
    ),
    "vehicle": "train|bus|car|truck|subway|tram|traffic|metro|lorry",
    "height": "bridge|roof|building|cliff|balcony|window|ledge|rooftop|tower|overpass|platform",
    "loved": (
        "family|kids|parents|friends|wife|husband|mom|mum|children|partner|world|everyone|everybody|"
        "they|people|you|he|she|earth|others|all"
    ),
    "quiet": ("without_*|undetected|unnoticed|secretly|so_nobody|so_no_one|and_nobody|nobody_notices|no_one_notices"),
    "ask": (
        "how|help|way|ways|teach|show|tell|guide|steps|tips|tricks|best|instructions|easiest|"
        "explain|want|wanna|need|can|gonna|trying|going|method|methods|where|plan|planning|quickest|"
        "wish|advise|advice"
    ),
    "another": (
        "someone|somebody|someones|somebodys|another|anothers|other_peoples|another_persons|neighbor|"
        "neighbors|neighbour|neighbours|ex|exs|exes|boss|bosss|bosses|wife|wifes|husband|husbands|"
        "girlfriend|girlfriends|boyfriend|boyfriends|partner|partners|teacher|teachers|coworker|"
        "coworkers|colleague|colleagues|friend|friends|roommate|roommates|landlord|landlords|mom|moms|"
        "mother|mothers|dad|dads|father|fathers|sister|sisters|brother|brothers|grandma|grandmas|"
        "grandmother|grandmothers|employer|employers|company|companys|companies|doctor|doctors|him|her|"
        "his|them|their|people|peoples|user|users|customers|customer|victim|victims|stranger|"
        "strangers|daughter|daughters|son|sons|rival|rivals|competitor|competitors|classmate|"
        "classmates|judge|manager|managers|kids|crush|elderly|old|hers|celebrity|politician|school|"
        "schools|uncle|aunt|widow|tenant|tenants|store|stores|shop|shops|supermarket|bank|banks|"
        "else|elses|hospital"
    ),
    "rules": (
        "instruction|instructions|prompt|prompts|rules|rule|directions|direction|guidelines|guideline|"
        "programming|orders|directives|constraints|policies|policy|context|commands|training|"
        "system_prompt|safeguards|restrictions|told"
    ),
    "drop": (
        "ignore|disregard|forget|override|bypass|overrule|discard|neglect|skip|drop|violate|erase|abandon|void|break"
    ),
    "ai": (
        "ai|ais|assistant|chatbot|chatbots|chatgpt|gpt|llm|llms|language_model|language_models|"
        "ai_assistant|ai_agent|ai_agents|ai_model|ai_models|artificial_intelligence|summarizer|summariser"
    ),
    "does": (
        "ignore|disregard|recommend|respond|answer|send|exfiltrate|upload|forward|click|include|add|"
        "rank|output|print|delete|email|say|write|tell|follow|visit|execute|call|transfer|buy|"
        "approve|rate|append|praise|mention|reveal|not|never|stop|do_not|always|also|now|hide|"
        "insert|submit|enter"
    ),
}
