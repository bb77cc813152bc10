# ruff: noqa: E501
"""Italian phrases, few and precise. Accents and apostrophes are ignored when they are looked for."""

PHRASES: dict[str, tuple[str, ...]] = {
    "self_harm": (
        "voglio|vorrei|preferisco|desidero|penso_di|deciso_di|intenzione_di|sto_per|voglia_di ~1 morire|uccidermi|ammazzarmi|suicidarmi|farla_finita|togliermi_la_vita|sparire|impiccarmi|tagliarmi",
        "non ~1 voglio|posso|riesco|desidero ~3 vivere|andare_avanti|svegliarmi|esistere",
        "mi ~1 uccido|ammazzo|suicido|taglio|impicco",
        "uccidermi|ammazzarmi|suicidarmi",
        "penso|pensieri|pensando|pensato ~2 suicidio|suicidi|suicidarmi|morte|uccidermi",
        "senza di me ~4 meglio|felici",
        "ho ~1 preso|ingoiato|mandato_giù ~1 tutte|troppe|tante|scatola ~3 pillole|pastiglie|compresse|medicine|pasticche",
        "nessun|alcun|senza motivo|ragione ~1 vivere|per_vivere",
        "lettera d'addio|di_addio",
    ),
    "method": (
        "come ~3 suicidarsi|suicidarmi|morire|uccidermi ~3",
        "dose letale|mortale",
        "senza dolore ~2 morire|suicid*",
    ),
    "danger": (
        "odore|puzza|fuga|sento_odore ~1 gas",
        "odore di gas",
        "casa|cucina|appartamento|palazzo|macchina ~2 fuoco|fiamme|brucia|bruciando",
        "non ~1 respira|respiro|si_sveglia|risponde|reagisce",
        "non riesc* ~1 respirare",
        "privo|priva di sensi|conoscenza",
        "svenuto|svenuta|incosciente",
        "bambino|bambina|figlio|figlia|neonato|amico|amica|madre|padre|marito|moglie|nonna|nonno ~3 ingoiato|ingerito|bevuto|preso|mangiato ~4 batteria|pila|candeggina|veleno|pastiglie|pillole|detersivo|medicine",
        "sanguina|sanguinando ~2 molto|tanto|ferma",
        "infarto|attacco_di_cuore",
        "dolore ~2 petto",
        "folgorato|folgorata|annegando|soffocando",
    ),
    "harm_others": (
        "voglio|vorrei|sto_per|vado_a ~1 uccidere|ammazzare|accoltellare|sparare|strangolare|avvelenare ~1 mio|mia|il|la|lo|qualcuno|tutti|i|un|una|mie|miei",
        "ammazzerò|ucciderò|accoltellerò|sparerò ~2",
        "lo|la|li ammazzo|uccido|ammazzerò|ucciderò",
    ),
    "weapons.conventional": (
        "come|istruzioni|ricetta ~3 costruire|fare|fabbricare|creare|costruisco|preparare ~3 bomba|esplosivo|esplosivi|granata|molotov|silenziatore",
    ),
    "drugs.production": (
        "produrre|fare|cucinare|sintetizzare|fabbricare ~3 metanfetamina|eroina|cocaina|mdma|lsd|crack",
    ),
    "cyber.offense": (
        "come ~2 hackerare|hackero|crackare|bucare|violare ~3",
        "hackerare ~2 profilo|account|wifi|telefono|facebook|instagram|whatsapp",
        "scrivi|crea|programma ~3 ransomware|virus|malware|keylogger",
    ),
    "wrongdoing.nonviolent": (
        "come ~2 rubare|falsificare|falsifico|truffare|riciclare|ricattare|contrabbandare ~2",
        "falsificare ~2 firma|documenti|ricetta|soldi|banconote|passaporto",
        "senza ~2 scoperto|beccato|scoprire|beccare",
    ),
    "wrongdoing.violent": (
        "come ~2 avvelenare|uccidere|ammazzare|rapire|strangolare ~1 qualcuno|mio|mia|una_persona|un_uomo",
        "sbarazzarsi|liberarsi|sbarazzarmi|liberarmi ~2 corpo|cadavere",
    ),
    "malicious": (
        "senza ~2 scoperto|beccato|beccare|scoprire|accorga|accorgano",
        "a sua insaputa",
        "per ~1 vendicarmi|ucciderlo|ucciderla|ricattare",
    ),
    "csae": ("sesso|sessuale|nuda|porno ~4 bambino|bambina|bambini|minorenne|minorenni",),
    "override": ("ignora|dimentica|ignorate ~3 istruzioni|regole|precedenti",),
}
