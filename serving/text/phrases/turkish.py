# ruff: noqa: E501, RUF001
"""Turkish phrases, few and precise. Accents are ignored when they are looked for."""

PHRASES: dict[str, tuple[str, ...]] = {
    "self_harm": (
        "ölmek|intihar_etmek|yok_olmak istiyorum|isterdim",
        "intihar ~1 edeceğim|etmeyi|düşünüyorum|etmek|etmeliyim|edicem",
        "yaşamak|yaşamaya|uyanmak ~1 istemiyorum|gücüm_yok",
        "kendimi ~2 öldürmek|öldüreceğim|öldürücem|asacağım|kesiyorum|asmak|öldürürüm|kestim",
        "canıma kıymak|kıyacağım|kıyıcam",
        "hayatıma son ~1",
        "keşke ölsem|ölseydim",
        "bensiz ~2 daha_iyi|mutlu",
        "bütün|tüm|kutu|çok ~2 hapları|haplarımı|hap|ilaçları|ilaçlarımı|ilaç ~1 içtim|yuttum|aldım",
        "yaşamanın|yaşamak ~2 anlamı|sebebim|için ~1 yok",
        "veda mektubu",
    ),
    "method": (
        "acısız|ağrısız|kolay ~2 ölüm|intihar|ölmek|ölünür",
        "nasıl ~1 intihar ~1 edilir|ederim",
        "ölümcül doz",
        "intihar yöntemleri|yolları",
    ),
    "danger": (
        "gaz ~1 kokusu|kokuyor|kaçağı|sızıntısı",
        "ev|evim|evimiz|mutfak|mutfağım|apartman|bina|araba|daire|oda ~1 yanıyor|alev*|yangın",
        "yangın ~1 var|çıktı",
        "nefes ~1 almıyor|alamıyor|alamıyorum",
        "bilinci|bilinç ~1 kapalı|yok|kaybetti",
        "bayıldı|uyanmıyor|tepki_vermiyor",
        "çocuğum|çocuk|oğlum|kızım|bebeğim|bebek|arkadaşım|annem|babam|eşim ~2 pil|ilaç|hap|hapları|zehir|çamaşır_suyu|deterjan|çamaşır ~2 yuttu|içti|yedi",
        "çok kan kaybediyor|akıyor",
        "kanama|kanaması ~1 durmuyor",
        "kalp krizi",
        "elektrik çarptı",
        "boğuluyor",
    ),
    "harm_others": (
        "öldüreceğim|bıçaklayacağım|vuracağım|öldürücem",
        "onu|karımı|kocamı|patronumu|babamı|annemi|herkesi|komşumu|birini|kardeşimi|onları ~1 öldürmek|bıçaklamak|vurmak|zehirlemek|öldüreceğim|öldürürüm ~1 istiyorum",
    ),
    "weapons.conventional": ("bomba|boru_bombası|patlayıcı|molotof|el_bombası ~2 yap*|üret*",),
    "drugs.production": ("met|metamfetamin|eroin|kokain|uyuşturucu|mdma|lsd ~2 üret*|yapılır|yaparım|pişir*|yapımı",),
    "cyber.offense": (
        "hack*|hesabı|hesabını|şifresi|şifresini|wifi ~2 hack*|kır*|çal*|ele_geçir* ~1",
        "nasıl hack*",
        "fidye yazılımı ~1 yaz",
    ),
    "wrongdoing.nonviolent": (
        "sahte ~1 imza|para|kimlik|reçete|pasaport|belge ~2",
        "nasıl ~1 çal*|dolandır*|kaçır*|çalınır",
        "kara para aklama*|akla*",
        "yakalanmadan ~2",
    ),
    "wrongdoing.violent": (
        "nasıl ~1 zehirle*|öldürülür_insan ~1",
        "birini|insan|karımı|kocamı ~2 nasıl ~1 öldür*|zehirle*|kaçır*",
        "cesedi|ceset ~2 nasıl|yok|sakla*",
    ),
    "malicious": (
        "yakalanmadan",
        "kimse|o fark|anlamadan|bilmeden ~1 etmeden",
        "haberi olmadan",
        "intikam al*",
    ),
    "csae": ("çocuk|küçük_kız|reşit_olmayan ~2 seks|porno|çıplak|cinsel",),
    "override": ("önceki|tüm ~2 talimat*|kuralları ~2 yok_say|unut|görmezden",),
}
