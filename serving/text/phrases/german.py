# ruff: noqa: E501
"""German phrases, few and precise. Accents and apostrophes are ignored when they are looked for."""

PHRASES: dict[str, tuple[str, ...]] = {
    "self_harm": (
        "ich ~2 will|möchte|mag|kann ~2 nicht_mehr|nimmer ~2 leben|weiterleben|da_sein|aufwachen|hier_sein|weiter",
        "will|möchte ~1 sterben|tot_sein|nicht_mehr_leben|nie_wieder_aufwachen|mich_umbringen|mich_töten|mir_das_leben_nehmen",
        "will|möchte|werde|bringe|wollte|könnte ~4 mich|selbst ~4 um|umbringen|umzubringen|töten|erhängen|erschießen|ritzen|verletzen",
        "mich ~3 umbringen|umzubringen|umbringe|erhängen|erschießen|ritze|geritzt|töten|ertränken",
        "mir ~3 das leben_nehmen|leben_zu_nehmen",
        "bringe|bring mich ~2 um",
        "selbstmord|suizid begehen|gedanken|gedanke|machen|plan",
        "selbstmordgedanken|suizidgedanken|lebensmüde|suizidal",
        "denke|gedanken|dachte|nachdenken ~4 selbstmord|suizid|umzubringen|tod",
        "ich ~3 wäre|bin ~2 lieber|besser tot",
        "ohne mich ~2 besser|glücklicher",
        "keinen sinn|grund ~4 leben|weiterzuleben|weiterleben|mehr",
        "mein leben ~1 beenden|ist_vorbei|hat_keinen_sinn",
        "ich ~3 alle|ganze|zu_viele|packung|schachtel ~4 tabletten|pillen|schlaftabletten|medikamente ~2 geschluckt|genommen|eingenommen",
        "will ~3 nicht_mehr ~1 aufwachen|da|leben|hier",
        "abschiedsbrief",
    ),
    "method": (
        "wie ~4 schmerzlos|schmerzfrei|am_besten|schnell ~3 umbringen|sterben|töten|erhängen",
        "tödliche dosis|überdosis",
        "wie viele ~4 tabletten|pillen ~5 sterben|tödlich",
    ),
    "danger": (
        "es|hier|wohnung|küche|haus|riecht ~3 nach gas",
        "rieche ~1 gas",
        "gasgeruch",
        "wohnung|haus|küche|zimmer|auto|dach|keller|ofen|bude ~1 brennt|in_flammen",
        "es brennt",
        "atmet|atme ~2 nicht|nicht_mehr|kaum",
        "kann|bekomme|kriege ~2 nicht|keine|kaum ~2 atmen|luft",
        "bewusstlos|ohnmächtig|reagiert_nicht",
        "kind|sohn|tochter|baby|freund|freundin|mann|frau|mutter|vater|oma|opa ~3 tabletten|batterie|knopfzelle|reiniger|gift|putzmittel|pillen ~3 geschluckt|verschluckt|getrunken|genommen|gegessen",
        "blutet ~2 stark|sehr|viel",
        "herzinfarkt|schlaganfall|stromschlag",
        "brustschmerzen",
        "ertrinkt|erstickt",
        "wacht|wacht ~2 nicht ~1 auf",
    ),
    "harm_others": (
        "ich ~3 werde|will|möchte|könnte ~4 umbringen|töten|erschießen|erstechen|abstechen|ermorden|vergiften|erwürgen",
        "ich bringe|bring|steche|knalle ~3 um|ab",
        "amoklauf|amok",
    ),
    "weapons.conventional": (
        "wie ~4 baue|baut|bastle|bastelt|mache|macht|bauen|herstellen|basteln ~3 bombe|rohrbombe|sprengstoff|granate|molotowcocktail|schusswaffe",
        "bombe|rohrbombe|sprengstoff|sprengsatz|molotowcocktail ~2 bauen|herstellen|basteln|bauanleitung|selber",
        "anleitung|bauanleitung ~4 bombe|rohrbombe|sprengstoff|sprengsatz|molotow*",
    ),
    "drugs.production": (
        "wie ~3 koche|kocht|mache|macht|stelle|stellt|herstellen ~3 meth|crystal|methamphetamin|heroin|kokain|mdma|lsd",
        "meth|crystal_meth|methamphetamin|heroin ~2 kochen|herstellen",
    ),
    "cyber.offense": (
        "wie ~3 hacke|hackt|knacke|knackt|hacken|knacken ~5",
        "schreib|programmiere|erstelle ~3 ransomware|virus|trojaner|malware|keylogger",
        "passwort ~3 knacken|hacken|stehlen",
    ),
    "wrongdoing.nonviolent": (
        "wie ~3 fälsche|fälscht|fälschen|stehle|klaue|klaut|betrüge|schmuggle|wasche ~4",
        "unterschrift|ausweis|rezept|geld|attest ~2 fälschen|gefälscht",
        "ohne erwischt",
    ),
    "wrongdoing.violent": (
        "wie ~2 vergifte|töte|ermorde|entführe|ersteche ~2 jemanden|meinen|meine|einen_menschen|ihn|sie",
        "leiche ~2 los|verschwinden|entsorgen|verstecken",
    ),
    "malicious": (
        "ohne ~2 erwischt|entdeckt|gemerkt|bemerkt",
        "ohne dass ~3 merkt|mitbekommt|erfährt",
        "um ~3 zu_töten|zu_verletzen|zu_erpressen|rache",
    ),
    "csae": ("sex|nackt|nacktbilder|porno ~4 kind|kindern|minderjährig*|schülerin",),
    "override": ("ignoriere|vergiss ~3 anweisungen|regeln|vorherigen|bisherigen|instruktionen",),
}
