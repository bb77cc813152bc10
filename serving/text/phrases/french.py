# ruff: noqa: E501
"""French phrases, few and precise. Accents and apostrophes are ignored when they are looked for."""

PHRASES: dict[str, tuple[str, ...]] = {
    "self_harm": (
        "je ~2 veux|voudrais|vais|préfère ~1 mourir|me_tuer|me_suicider|en_finir|crever|disparaître",
        "je ne ~1 veux|peux ~1 plus ~1 vivre|continuer|exister|être_là|me_réveiller",
        "veux|peux plus vivre|continuer_à_vivre",
        "envie de mourir|me_tuer|me_suicider|en_finir|disparaître",
        "me|m tuer|suicider|pendre|mutiler|scarifier",
        "je me tue|suicide|scarifie|mutile|pends",
        "j'ai|jai|j'veux ~2 envie|pris|avalé ~4 mourir|cachets|comprimés|médicaments|boîte ~2",
        "pense|penser|pensées|idées ~2 suicide|suicidaires|me_tuer|suicidaire",
        "plus ~2 raison|envie ~1 de_vivre|vivre",
        "sans moi ~3 mieux|heureux",
        "mettre fin à ~1 mes_jours|ma_vie",
        "lettre ~1 d'adieu|adieu",
    ),
    "method": (
        "comment ~3 mourir|se_suicider|me_suicider|me_tuer ~3 ",
        "dose mortelle|létale",
        "sans douleur ~2 mourir|suicide|suicider",
    ),
    "danger": (
        "sent|odeur|sens|fuite ~3 gaz",
        "ça_sent|ca_sent ~1 gaz",
        "le feu ~2 chez|maison|cuisine|appartement",
        "maison|appartement|cuisine|immeuble|voiture ~3 feu|brûle|flammes",
        "ne|n ~2 respire ~1 plus|pas",
        "respire plus|pas",
        "peux|arrive ~3 plus|pas respirer",
        "inconscient|inconsciente|évanoui|évanouie",
        "bébé|enfant|fils|fille|ami|amie|mari|femme|mère|père ~4 avalé|bu|pris ~4 pile|produit|javel|poison|médicaments|cachets|comprimés|détergent|lessive|bouton",
        "saigne ~2 beaucoup|arrête|énormément",
        "crise cardiaque|d'asphyxie",
        "douleur ~2 poitrine",
        "électrocuté|électrocutée",
        "se noie|étouffe",
        "s'étouffe",
    ),
    "harm_others": (
        "je ~2 vais|veux|voudrais|peux ~1 tuer|poignarder|abattre|égorger|étrangler|frapper|empoisonner|assassiner ~1 mon|ma|mes|le|la|les|quelqu'un|tout|un|une|cette|ce",
        "envie de tuer|poignarder|étrangler|frapper ~1 mon|ma|mes|le|la|quelqu'un|tout",
        "je vais le|la|les ~1 tuer|buter|planter",
    ),
    "weapons.conventional": (
        "comment|recette|tuto|instructions ~3 fabriquer|faire|construire|créer ~3 bombe|explosif|explosifs|grenade|molotov|arme_à_feu|silencieux",
        "fabriquer ~3 bombe|explosif|explosifs",
    ),
    "drugs.production": (
        "fabriquer|produire|synthétiser|cuisiner|faire ~3 méthamphétamine|meth|héroïne|cocaïne|mdma|lsd|ghb",
    ),
    "cyber.offense": (
        "comment ~2 pirater|hacker|craquer ~4",
        "pirater|hacker ~2 compte|téléphone|wifi|site|instagram|facebook|whatsapp",
        "écris|créer|crée|code ~3 rançongiciel|ransomware|virus|logiciel_malveillant|keylogger",
    ),
    "wrongdoing.nonviolent": (
        "comment ~3 falsifier|voler|imiter|blanchir|arnaquer|contrefaire|frauder|escroquer ~3",
        "fausse|faux signature|papiers|ordonnance|billets|monnaie|passeport",
        "sans ~2 faire prendre|attraper|repérer",
    ),
    "wrongdoing.violent": (
        "comment ~2 empoisonner|tuer|assassiner|kidnapper|étrangler ~1 mon|ma|mes|quelqu'un|une_personne|un_homme|une_femme",
        "débarrasser ~2 corps|cadavre",
    ),
    "malicious": (
        "sans ~2 faire ~1 prendre|attraper|repérer",
        "sans que ~2 sache|voie|remarque|s'en_rende",
        "à son insu",
        "pour ~2 venger|tuer|nuire|faire_chanter",
    ),
    "csae": ("sexe|sexuelle|nue|porno|nues ~4 enfant|enfants|mineure|mineur|fillette",),
    "override": ("ignore|ignorez|oublie|oubliez ~3 instructions|consignes|règles|précédentes",),
}
