"""The words that the tasks of the embedded sample are made of."""


def _words(text: str, separator: str | None = None) -> tuple[str, ...]:
    return tuple(text.split(separator))


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((left, right) for left, _, right in (pair.partition("/") for pair in text.split()))


# Country and capital; only countries whose government sits in their capital.
CAPITALS = dict(
    _pairs(
        "France/Paris Italy/Rome Spain/Madrid Portugal/Lisbon Germany/Berlin Austria/Vienna "
        "Poland/Warsaw Hungary/Budapest Greece/Athens Norway/Oslo Sweden/Stockholm Finland/Helsinki "
        "Denmark/Copenhagen Iceland/Reykjavik Ireland/Dublin Belgium/Brussels Romania/Bucharest "
        "Bulgaria/Sofia Croatia/Zagreb Serbia/Belgrade Slovenia/Ljubljana Latvia/Riga Estonia/Tallinn "
        "Lithuania/Vilnius Ukraine/Kyiv Turkey/Ankara Egypt/Cairo Morocco/Rabat Tunisia/Tunis "
        "Kenya/Nairobi Ghana/Accra Senegal/Dakar Uganda/Kampala Japan/Tokyo China/Beijing "
        "Thailand/Bangkok Vietnam/Hanoi Nepal/Kathmandu Mongolia/Ulaanbaatar Canada/Ottawa Cuba/Havana "
        "Jamaica/Kingston Peru/Lima Ecuador/Quito Uruguay/Montevideo Paraguay/Asuncion "
        "Venezuela/Caracas Colombia/Bogota Australia/Canberra"
    )
)
OPPOSITES = _pairs(
    "hot/cold big/small tall/short fast/slow early/late full/empty hard/soft light/dark rich/poor "
    "wet/dry young/old happy/sad open/closed strong/weak wide/narrow loud/quiet clean/dirty deep/shallow "
    "near/far high/low sharp/blunt thick/thin heavy/light brave/timid sweet/bitter smooth/rough "
    "cheap/expensive easy/difficult ancient/modern guilty/innocent rare/common awake/asleep polite/rude "
    "tight/loose"
)
# By the rule that makes the plural: singular and plural, and a sentence that states the rule.
PLURALS = (
    (
        _pairs("child/children mouse/mice tooth/teeth foot/feet goose/geese man/men woman/women ox/oxen"),
        "It is an irregular noun, so the word itself changes.",
    ),
    (
        _pairs(
            "box/boxes fox/foxes bus/buses glass/glasses dish/dishes bench/benches church/churches wish/wishes"
        ),
        "Nouns with a hissing sound at the end take es.",
    ),
    (
        _pairs("city/cities baby/babies story/stories lady/ladies party/parties berry/berries puppy/puppies"),
        "A y after a consonant turns into ies.",
    ),
    (
        _pairs("leaf/leaves wolf/wolves knife/knives shelf/shelves loaf/loaves half/halves"),
        "Many nouns that end in f or fe take ves.",
    ),
    (
        _pairs("table/tables river/rivers window/windows garden/gardens pencil/pencils"),
        "It is a regular noun and takes an s.",
    ),
)
WORDS = _words(
    "apple bridge candle dragon engine forest garden harbor island jacket kettle lemon mirror needle "
    "orange pillow queen ribbon silver tunnel umbra valley winter yellow zebra basket copper donkey "
    "ember falcon grape hammer iron jungle lamp meadow night ocean pepper quill rabbit spoon tiger urban "
    "violin wagon"
)
# One of the first is so many of the second.
UNITS = (
    ("hour", "minutes", 60),
    ("day", "hours", 24),
    ("week", "days", 7),
    ("minute", "seconds", 60),
    ("meter", "centimeters", 100),
    ("kilometer", "meters", 1000),
    ("year", "months", 12),
    ("dozen", "eggs", 12),
)
DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
PEOPLE = _words(
    "my neighbor,my teacher,my sister,a colleague,my doctor,an old friend,my uncle,the librarian", ","
)
GIFTS = _words(
    "the cake,the kind advice,the long letter,the ride home,the flowers,the help last week,the good book", ","
)
# What is asked about, the answer, one more sentence, a wrong answer.
WHY = (
    (
        "leaves fall in autumn",
        "trees save water in winter",
        "Bare branches lose less of it",
        "the leaves are tired",
    ),
    (
        "ice floats on water",
        "ice is lighter than water",
        "Water grows when it freezes",
        "ice is full of salt",
    ),
    ("we see lightning first", "light is faster than sound", "The thunder arrives later", "thunder is shy"),
    ("bread rises", "yeast makes gas in the dough", "The bubbles push it up", "flour likes to fly"),
    (
        "the sea is salty",
        "rivers carry salt into it",
        "The water leaves and the salt stays",
        "fish add pepper",
    ),
    (
        "we have seasons",
        "the axis of the Earth is tilted",
        "The sun stands higher in summer",
        "the moon is warm",
    ),
    ("birds fly south", "food is scarce in the cold", "The south has insects all winter", "they like hotels"),
    ("the sky is blue", "air scatters blue light most", "Red light passes straight on", "it mirrors paint"),
    ("we sleep", "the body needs time to repair", "Memory is sorted at night too", "beds are cheap"),
    (
        "a kettle whistles",
        "steam is pressed through a hole",
        "Fast steam makes the air ring",
        "water can sing",
    ),
    ("cats purr", "they are mostly content", "The sound also calms them", "they have engines"),
    ("iron rusts", "iron reacts with oxygen and water", "A coat of paint slows it", "iron gets sunburnt"),
    (
        "a ball comes down",
        "gravity pulls it to the Earth",
        "Only its speed upwards fades",
        "balls fear heights",
    ),
    (
        "onions make us cry",
        "cutting them frees a sharp gas",
        "Tears wash it out of the eye",
        "onions are sad",
    ),
    ("the moon shines", "it reflects the light of the sun", "It has no light of its own", "it is a lamp"),
    ("roads are salted", "salt melts the ice on them", "Salty water freezes later", "cars like the taste"),
)
