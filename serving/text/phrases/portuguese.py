# ruff: noqa: E501
"""Portuguese phrases, few and precise. Accents are ignored when they are looked for."""

PHRASES: dict[str, tuple[str, ...]] = {
    "self_harm": (
        "quero|queria|vou|desejo|prefiro|penso_em|vontade_de|gostaria_de ~1 morrer|me_matar|matar_me|suicidar_me|me_suicidar|sumir_para_sempre|acabar_com_tudo|acabar_com_a_minha_vida|tirar_a_minha_vida|me_enforcar|me_cortar|desaparecer",
        "me matar|suicidar|enforcar|cortar",
        "não ~1 quero|aguento|consigo|posso ~2 viver|mais_viver|existir|acordar|continuar",
        "penso|pensando|pensamentos|pensei|ideias ~2 suicídio|suicidas|me_matar|morrer",
        "sem mim ~3 melhor|felizes",
        "melhor sem mim",
        "tomei|engoli ~1 todos|todas|muitos|cartela|frasco|caixa ~3 comprimidos|remédios|pílulas|medicamentos",
        "nenhum|sem motivo|razão ~1 viver|para_viver",
        "carta de despedida",
    ),
    "method": (
        "como ~3 suicidar|me_matar|morrer|me_suicidar ~2 sem|dor|rápido",
        "dose letal|fatal",
        "morrer|suicídio sem dor",
    ),
    "danger": (
        "cheiro|cheira|vazamento|fuga ~2 gás",
        "casa|cozinha|apartamento|prédio|carro ~3 fogo|chamas|incêndio|queimando|arder",
        "não ~2 respira|respirando|respirar|acorda|responde|reage",
        "inconsciente|desmaiado|desmaiada|desmaiou",
        "filho|filha|bebê|bebé|criança|amigo|amiga|mãe|pai|marido|mulher|esposa ~3 engoliu|bebeu|tomou|ingeriu|comeu ~4 pilha|bateria|veneno|comprimidos|água_sanitária|lixívia|detergente|remédios|desinfetante",
        "sangrando|sangra ~2 muito|para",
        "ataque cardíaco",
        "infarto|enfarte|eletrocutado|afogando|engasgado|engasgando",
        "dor ~2 peito",
    ),
    "harm_others": (
        "quero|vou|queria|penso_em|vontade_de ~1 matar|esfaquear|assassinar|estrangular|envenenar ~1 o|a|meu|minha|alguém|todos|um|uma|os|as ~1",
        "vou matá*",
    ),
    "weapons.conventional": (
        "como|instruções|receita ~3 fazer|fabricar|construir|montar|faço ~3 bomba|explosivo|explosivos|granada|molotov|silenciador",
    ),
    "drugs.production": (
        "fazer|fabricar|produzir|cozinhar|sintetizar ~3 metanfetamina|cocaína|heroína|mdma|lsd|crack",
    ),
    "cyber.offense": (
        "como ~2 hackear|invadir|piratear|crackear ~4 whatsapp|conta|instagram|facebook|wifi|celular|site|rede|computador|email|perfil",
        "hackear ~2 ",
        "crie|criar|escreva|programe ~3 ransomware|vírus|malware|keylogger",
    ),
    "wrongdoing.nonviolent": (
        "como ~2 roubar|falsificar|fraudar|chantagear|contrabandear|lavar_dinheiro|extorquir ~2",
        "falsificar ~2 assinatura|documento|receita|dinheiro|notas|passaporte",
        "sem ser ~1 pego|apanhado|descoberto",
    ),
    "wrongdoing.violent": (
        "como ~2 envenenar|matar|assassinar|sequestrar|estrangular ~1 alguém|meu|minha|uma_pessoa|um_homem",
        "livrar ~2 corpo|cadáver",
    ),
    "malicious": (
        "sem ser ~1 pego|apanhado|descoberto|notado",
        "sem que ~3 saiba|perceba|note|descubra|saibam",
        "para ~1 vingar|me_vingar|matar|chantagear",
    ),
    "csae": ("sexo|sexual|nua|pornô|porno ~4 criança|crianças|menor|menores|menina",),
    "override": ("ignore|ignora|esqueça|esquece ~3 instruções|regras|anteriores",),
}
