# ruff: noqa: E501
"""Spanish phrases, few and precise. Accents are ignored when they are looked for."""

PHRASES: dict[str, tuple[str, ...]] = {
    "self_harm": (
        "quiero|quisiera|deseo|voy_a|ganas_de|prefiero|pienso ~1 morir|morirme|matarme|suicidarme|quitarme_la_vida|desaparecer|ahorcarme|acabar_con_todo|acabar_con_mi_vida",
        "me quiero|voy_a|quisiera ~1 morir|matar|suicidar|ahorcar|cortar|colgar",
        "no ~1 quiero|puedo|deseo ~2 vivir|seguir_viviendo|existir|despertar|despertarme|estar_aquí",
        "pienso|pensando|pensado|pensamientos|ideas ~2 suicidio|suicidarme|suicidas|matarme|morir",
        "ya no ~1 quiero ~1 vivir|más|seguir",
        "sin mí ~2 mejor|felices",
        "mejor sin mí",
        "me ~1 tomé|tragué|tome|he_tomado ~2 todas|muchas|frasco|caja ~3 pastillas|píldoras|medicamentos",
        "tomé|tomado|tragado ~2 todas las pastillas",
        "me ~1 corto|corté|autolesiono|lastimo ~2",
        "ninguna|sin|no_tengo razón|razones|motivo ~1 para vivir",
        "carta de despedida",
    ),
    "method": (
        "cómo|forma|manera|método ~3 suicidarme|suicidarse|morir|matarme ~3",
        "dosis letal|mortal",
        "sin dolor ~2 morir|suicid*",
    ),
    "danger": (
        "huele|olor|huelo|fuga|escape ~2 gas",
        "hay|se ~2 incendio|incendia|fuego ~3 casa|edificio|cocina|piso|apartamento",
        "casa|cocina|edificio|piso|apartamento|coche ~2 incendio|quema|quemando|ardiendo|llamas|incendiando",
        "no ~1 respira|puede_respirar|puedo_respirar|despierta|reacciona|responde",
        "inconsciente|desmayado|desmayada",
        "hijo|hija|bebé|niño|niña|amigo|amiga|madre|padre|marido|mujer|esposa ~4 tragado|tragó|bebido|bebió|tomado|tomó|ingerido|comido ~4 pila|lejía|veneno|pastillas|cloro|detergente|medicamentos|producto|batería",
        "sangra|sangrando ~2 mucho|para|mucha",
        "ataque|infarto al? corazón|cardíaco",
        "dolor ~2 pecho",
        "electrocutado|electrocutó|ahogando|atragantado|atragantando",
        "se está ahogando|asfixiando",
    ),
    "harm_others": (
        "quiero|voy_a|quisiera|pienso|ganas_de ~1 matar|apuñalar|disparar|asesinar|estrangular|envenenar|pegar ~1 a|al ~2",
        "lo|la|los|las voy_a matar",
        "voy a matar|disparar ~2 a|al",
    ),
    "weapons.conventional": (
        "cómo|instrucciones|receta|tutorial ~3 hacer|fabricar|construir|armar|hago|fabrico ~3 bomba|explosivo|explosivos|granada|molotov|silenciador|pistola",
        "fabricar|construir ~2 bomba|bombas|explosivos",
    ),
    "drugs.production": (
        "hacer|fabricar|cocinar|producir|sintetizar ~3 metanfetamina|meta|cristal|cocaína|heroína|mdma|lsd|fentanilo",
    ),
    "cyber.offense": (
        "cómo ~2 hackear|hackeo|piratear|crackear ~3",
        "hackear ~2 cuenta|instagram|facebook|whatsapp|wifi|teléfono|móvil",
        "crea|crear|escribe|programa ~3 ransomware|virus|malware|keylogger|troyano",
    ),
    "wrongdoing.nonviolent": (
        "cómo ~2 robar|falsificar|estafar|blanquear|chantajear|extorsionar|contrabandear ~2",
        "falsificar ~2 firma|billetes|receta|documento|pasaporte|dinero",
        "sin que ~2 pillen|descubran|atrapen|note|noten|sepa",
    ),
    "wrongdoing.violent": (
        "cómo ~2 envenenar|matar|asesinar|secuestrar|estrangular ~1 a|alguien|mi ~2",
        "deshacer* ~2 cuerpo|cadáver",
    ),
    "malicious": (
        "sin que ~2 pillen|descubran|atrapen|note|noten|sepa|sepan|entere|enteren|cojan",
        "sin ser descubierto|detectado",
        "para ~2 vengarme|matar|chantajear|hacerle_daño",
    ),
    "csae": ("sexo|sexual|desnuda|porno|desnudos ~4 niño|niña|niños|menor|menores",),
    "override": ("ignora|olvida|ignore|descarta ~3 instrucciones|reglas|anteriores|previas",),
}
