# ruff: noqa: E501
"""Polish phrases, few and precise. Accents are ignored when they are looked for."""

PHRASES: dict[str, tuple[str, ...]] = {
    "self_harm": (
        "chcę|chciałbym|chciałabym|zamierzam|wolę|postanowiłem|postanowiłam|mam_ochotę ~2 umrzeć|się_zabić|zabić_się|skończyć_ze_sobą|popełnić_samobójstwo|zniknąć|się_powiesić|odebrać_sobie_życie",
        "nie ~1 chcę|chce|mogę|potrafię ~2 żyć|istnieć|obudzić|się_obudzić",
        "nie chce ~1 mi się_żyć",
        "zabiję|powieszę|potnę|zabije się|sobie",
        "myśl* ~2 samobójstw*|samobójcz*|śmierci|zabiciu",
        "popełnić|popełnię samobójstwo",
        "samobójstw* ~2 sobie|ja|dziś",
        "beze mnie ~3 lepiej",
        "połknąłem|połknęłam|wziąłem|wzięłam|zjadłem|zjadłam ~1 wszystkie|dużo|całe|opakowanie|za_dużo ~2 tabletk*|tabletek|leki|leków|pigułk*",
        "nie mam|widzę ~1 po_co|sensu ~1 żyć|życia",
        "tnę|ciąłem|cięłam się",
        "list pożegnalny",
        "skończyć ze sobą",
    ),
    "method": (
        "jak ~3 się_zabić|zabić_się|popełnić_samobójstwo|umrzeć|bezboleśnie ~2",
        "śmiertelna|śmiertelną dawka|dawkę",
        "bezbolesn* śmierć|samobójstwo",
    ),
    "danger": (
        "czuję|czuć|zapach|ulatnia ~2 gaz|gazu|gazem",
        "dom|mieszkanie|kuchnia|auto|samochód|blok ~1 pali|płonie ~1 się?",
        "pali|płonie się ~1 dom|mieszkanie|kuchnia",
        "pożar ~2 domu|mieszkaniu|kuchni|u_mnie",
        "nie ~1 oddycha|oddycham|mogę_oddychać|budzi_się|reaguje|odpowiada",
        "nieprzytomn*",
        "dziecko|syn|córka|niemowlę|przyjaciel|mąż|żona|mama|tata|matka|ojciec|babcia ~2 połknął|połknęła|połknęło|wypił|wypiła|wypiło|zjadł|zjadła|zjadło|wziął|wzięła ~3 bateri*|wybielacz*|truciz*|tabletki|leki|płyn|detergent*",
        "krwawi ~2 bardzo|mocno|dużo",
        "zawał|udar ~1 serca",
        "ból ~2 klatce|klatki",
        "porażony|porażona|tonie|dławi|dusi ~1 prądem|się",
    ),
    "harm_others": (
        "zabiję|zastrzelę|zadźgam|zamorduję|uduszę|otruję ~1 mojego|moją|go|ją|ich|szefa|swojego|swoją|wszystkich|cię|kogoś",
        "chcę|zamierzam|mam_ochotę ~1 zabić|zastrzelić|zadźgać|zamordować|udusić|otruć ~1 mojego|moją|go|ją|ich|szefa|swojego|swoją|wszystkich|kogoś|żonę|męża",
    ),
    "weapons.conventional": (
        "jak|instrukcja ~2 zrobić|zbudować|skonstruować|wyprodukować ~2 bomb*|ładunek|granat|koktajl|materiał*",
    ),
    "drugs.production": (
        "zrobić|wyprodukować|ugotować|zsyntetyzować ~2 metamfetamin*|amfetamin*|heroin*|kokain*|mdma|lsd|mete",
    ),
    "cyber.offense": (
        "jak ~2 zhakować|shakować|złamać|włamać ~3",
        "napisz|stwórz ~3 ransomware|wirus*|malware|keylogger*",
    ),
    "wrongdoing.nonviolent": (
        "jak ~2 podrobić|ukraść|sfałszować|oszukać|wyprać|przemycić|szantażować ~2",
        "podrobić|sfałszować|fałszywy|fałszywą ~1 podpis|receptę|paszport|pieniądze|dowód",
    ),
    "wrongdoing.violent": (
        "jak ~2 otruć|zabić|zamordować|porwać|udusić ~1 kogoś|człowieka|męża|żonę|mojego|moją",
        "pozbyć ~2 ciała|zwłok",
    ),
    "malicious": (
        "bez|nie ~1 zostać|dać|dając ~1 złapanym|się_złapać|wykrytym",
        "żeby|aby nikt|on|ona ~2 zauważył*|wiedział*|dowiedział*",
        "żeby|aby ~1 zemścić|zabić",
    ),
    "csae": ("seks|nagie|porno|nago ~4 dzieck*|dzieci|nieletni*|dziewczynk*",),
    "override": ("zignoruj|ignoruj|zapomnij ~3 instrukcje|polecenia|zasady|poprzednie",),
}
