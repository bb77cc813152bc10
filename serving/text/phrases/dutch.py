# ruff: noqa: E501
"""Dutch phrases, few and precise."""

PHRASES: dict[str, tuple[str, ...]] = {
    "self_harm": (
        "ik ~1 wil|wou|ga ~2 niet_meer ~1 leven|wakker_worden|bestaan|hier_zijn|verder",
        "ik ~1 wil|wou|zou_willen ~1 dood|sterven|doodgaan|niet_meer_leven|er_niet_meer_zijn|mezelf_doden|mezelf_ophangen",
        "wil ~1 dood|sterven|doodgaan ~1 .",
        "zelfmoord|suïcide plegen|gedachten|doen",
        "denk|denken|gedachten|dacht ~3 zelfmoord|suïcide|doodgaan",
        "mezelf ~2 doden|ophangen|snijden|verdrinken|iets_aandoen|van_kant_maken|pijn_doen",
        "maak|maken er ~2 een_eind|een_einde ~1 aan",
        "zelfmoordgedachten|suïcidaal",
        "zonder mij beter|gelukkiger",
        "beter af zonder_mij",
        "geen reden ~3 leven",
        "ik ~1 heb alle|te_veel|hele_doos|een_doos ~3 pillen|tabletten|slaappillen|medicijnen ~1 ingenomen|geslikt|genomen",
        "afscheidsbrief",
    ),
    "method": (
        "hoe ~4 pijnloos ~2 dood|sterven|zelfmoord",
        "dodelijke dosis|overdosis",
        "hoeveel ~2 pillen ~4 dood|sterven",
    ),
    "danger": (
        "ik|het ruik|ruikt ~3 gas",
        "gaslucht|gaslek",
        "huis|keuken|woning|flat|auto|appartement ~2 brand|fik|vlammen",
        "er is brand",
        "ademt|ademen ~1 niet",
        "kan|krijg ~2 niet|geen|nauwelijks ~1 ademen|lucht|adem",
        "bewusteloos|buiten_bewustzijn|flauwgevallen",
        "kind|zoon|dochter|baby|vriend|vriendin|man|vrouw|moeder|vader|oma|opa ~3 batterij|bleek|bleekmiddel|gif|pillen|schoonmaakmiddel|knoopcel|medicijnen ~2 ingeslikt|gedronken|geslikt|ingenomen|gegeten|doorgeslikt",
        "bloedt ~2 hevig|erg|veel",
        "hartaanval|beroerte|elektrocutie|geëlektrocuteerd",
        "pijn ~2 borst",
        "verdrinkt|verdrinken|stikt",
        "wordt niet wakker",
    ),
    "harm_others": (
        "ik ~1 ga|wil|zal|kan ~4 vermoorden|doden|neersteken|doodschieten|neerschieten|wurgen|vergiftigen|doodslaan",
        "ik maak|schiet|steek ~2 dood|neer|af",
    ),
    "weapons.conventional": (
        "hoe ~4 maak|bouw|maken|bouwen|maakt|fabriceer ~3 bom|pijpbom|explosieven|explosief|granaat|molotovcocktail|springstof",
        "bom|pijpbom|explosieven ~2 maken|bouwen",
    ),
    "drugs.production": (
        "hoe ~3 maak|kook|maken|koken|produceer ~2 meth|crystal|methamfetamine|heroïne|cocaïne|mdma|xtc|lsd|ghb",
    ),
    "cyber.offense": (
        "hoe ~2 hack|kraak|hacken|kraken ~3",
        "schrijf|maak ~3 ransomware|virus|malware|keylogger",
    ),
    "wrongdoing.nonviolent": (
        "hoe ~2 vervals|steel|witwas|smokkel|chanteer|vervalsen|stelen|oplichten ~3",
        "vals|valse geld|paspoort|handtekening|recept|id",
        "zonder ~1 gepakt|betrapt",
    ),
    "wrongdoing.violent": (
        "hoe ~2 vergiftig|vermoord|ontvoer|wurg|vermoorden ~2 iemand|mijn|een_man|een_vrouw",
        "lijk|lichaam ~2 kwijt|verbergen|dumpen|weg",
    ),
    "malicious": (
        "zonder ~1 gepakt|betrapt|opgemerkt",
        "zonder dat ~3 merkt|weet|doorheeft",
        "om ~2 wraak|te_doden|te_chanteren",
    ),
    "csae": ("seks|seksueel|naakt|porno ~4 kind|kinderen|minderjarig*|meisje",),
    "override": ("negeer|vergeet ~3 instructies|regels|vorige|eerdere",),
}
