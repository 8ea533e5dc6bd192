"""The units of measure and the counted things that may follow a number, and the words that may stand around them.

Only what is listed here counts as a unit. Any other word may change the value: `8 sevenths`, `8 point five`, `8 less
three`, `8 in binary`. rlvr.rewards.math.units adds words of the question and of the gold answer for one comparison.
"""

from __future__ import annotations

from functools import lru_cache

_PREFIXES = {"n": "nano", "u": "micro", "m": "milli", "c": "centi", "d": "deci", "k": "kilo", "M": "mega", "G": "giga",
             "T": "tera", "p": "pico"}
_METRIC = {"m": "meter metre", "g": "gram gramme", "s": "second sec", "L": "l liter litre", "W": "watt", "J": "joule",
           "Hz": "hertz", "Pa": "pascal", "V": "volt", "A": "amp ampere", "N": "newton", "eV": "electronvolt",
           "mol": "mole", "K": "kelvin", "ohm": "Ω", "F": "farad", "H": "henry", "Wb": "weber",
           "C": "coulomb", "bit": "bits", "pc": "parsec", "bar": "bars", "Bq": "becquerel", "lm": "lumen",
           "lx": "lux", "cal": "calorie", "Wh": "watthour"}
_OTHERS = """inch inches in; foot feet ft; yard yd; mile mi; acre; pound lb £; ounce oz; ton tonne; gallon gal; quart
qt; pint pt; minute min; hour hr h; day; week wk; month; year yr; dollar USD buck; cent penny pennies; euro € EUR;
rupee Rs INR; yen JPY; yuan RMB CNY; peso; franc; crown; degree deg °; radian rad; celsius; fahrenheit; percent pct;
angstrom Å; micron; dyne; erg; atm atmosphere; mmHg; psi; au AU; lightyear ly; steradian sr; revolution rev; rpm;
hectare ha; fortnight; decade; century centuries; knot; molar; decibel dB; dioptre diopter; nautical; Kelvin; GBP;
cup; tablespoon tbsp; teaspoon tsp; stone; carat; horsepower hp; rod; furlong; fathom; arcminute arcmin;
arcsecond arcsec; cycle; rotation; turn; byte; kB kilobyte; MB megabyte; GB gigabyte; TB terabyte; tesla;
pixel; nickel; dime"""
_SHORT = {"mph": "mile / hour", "kph": "km / hour", "kmh": "km / hour", "cc": "cm ^3", "mL": "cm ^3"}

_THINGS = """
unit thing item object piece part portion share slice serving bite
person people man men woman women child children boy girl kid baby babies adult student pupil teacher player member
worker employee friend guest customer passenger participant family families team group class classes classmate runner
girlfriend boyfriend brother sister cousin human citizen soldier sailor farmer driver voter visitor attendee
animal dog cat puppy puppies kitten cow horse pig sheep goat chicken hen duck goose geese bird fish frog rabbit mouse
mice rat lion tiger elephant monkey bear bee ant spider bug insect butterfly butterflies turtle snake penguin crab
leg eye ear tail wing finger toe tooth teeth head hand foot
apple orange banana pear peach plum grape cherry cherries lemon lime melon watermelon pineapple mango mangoes
strawberry strawberries blueberry raspberry berry berries fruit vegetable carrot potato potatoes tomato tomatoes onion
pumpkin pepper bean corn cucumber egg cookie cake pie cupcake muffin brownie donut doughnut candy candies lollipop
chocolate pizza sandwich sandwiches burger taco hotdog chip fry fries bread loaf loaves bagel meal dish dishes snack
lunch lunches dinner breakfast cheese milk water juice soda coffee tea flour sugar salt butter rice oil food popcorn
nut peanut pancake waffle sausage jellybean marble
book page word letter sentence paragraph chapter line magazine newspaper article song note movie show episode video game
puzzle card stamp sticker picture photo painting poster toy doll ball balloon bead block brick tile lego puzzle
pencil pen crayon marker eraser notebook folder sheet paper stick straw string rope ribbon
box boxes bag bottle can jar jug bucket basket crate carton pack packet package container tin tray bowl plate glass
glasses mug spoon fork knife knives shelf shelves drawer barrel tank tube bundle bunch bunches stack row column
car truck bus buses bike bicycle motorcycle boat ship train plane vehicle wheel tire ticket seat ride trip lap
house home room apartment building floor door window table chair bed desk lamp light bulb wall fence post gate
shirt pant pair shoe sock hat coat dress dresses jacket skirt outfit glove scarf tie belt button bandage
tree flower plant seed leaf leaves branch branches rose tulip petal bush bushes garden field lawn
coin note bill pair check gem diamond pearl jewel ring bracelet necklace necklaces earring medal trophy trophies prize
gift present award
point goal run vote question problem answer error mistake test exam quiz quizzes assignment lesson course
subject task job shift call message email report letter file app download view like comment post
solution way arrangement combination permutation outcome possibility possibilities case choice option
path route subset set element value number integer digit term factor divisor multiple prime coefficient triple tuple
sequence function polynomial matrix matrices vector graph edge vertex vertices node face side angle
triangle square rectangle circle polygon hexagon pentagon octagon cube sphere cone cylinder pyramid prism diagonal chord
line segment plane region area intersection color colour code password handshake match matches tournament
round move step turn jump throw hit shot roll flip draw trial
atom molecule ion electron proton neutron photon particle cell bacterium bacteria gene chromosome neuron star planet
moon galaxy galaxies nucleus nuclei
time times visit attempt event party parties session
profit cost price revenue income salary wage money
work rest play sleep practice study reading driving walking exercise homework television
store school office city cities town country countries state street block bridge
weekday weekend morning afternoon evening night season summer winter spring
tool nail screw bolt machine computer phone robot camera battery batteries
"""
_ADJECTIVES = """red blue green yellow black white brown pink purple orange gray grey gold golden silver colored
big small large little tall short long wide deep high old new young full empty whole fresh ripe
different distinct unique possible total additional extra remaining original regular special
more male female adult real complex integer positive consecutive square cubic sq cu linear nautical light average hot
cold wooden plastic metal glass chocolate vanilla"""
_CONNECTORS = "a an the for on and with from ( *"
_TAILS = """left total all apiece altogether remaining long old tall high wide deep away apart daily weekly monthly
yearly annually overall together ago later early late older younger taller longer shorter faster heavier"""


def _units() -> dict[str, str]:
    names: dict[str, str] = {}
    for symbol, words in _METRIC.items():
        for prefix, spoken in (("", ""), *_PREFIXES.items()):
            for word in (symbol, *words.split()):
                names[(prefix if len(word) < 3 or word == symbol else spoken) + word] = prefix + symbol
    for group in _OTHERS.replace("\n", " ").split(";"):
        first, *more = group.split()
        names |= dict.fromkeys((first, *more), first)
    del names["pm"]  # 3 PM is a time of day
    return names


UNITS = _units()
"""Spelling -> name, in the singular: `metre` and `m` are "m"."""
SHORT = _SHORT
"""Abbreviations of compound units."""
THINGS = frozenset(_THINGS.split())
ADJECTIVES = frozenset(_ADJECTIVES.split())
CONNECTORS = frozenset(_CONNECTORS.split())
TAILS = frozenset(_TAILS.split())
PLURAL_ONLY = frozenset({"square", "cube", "prime", "pair", "multiple", "factor", "point"})
"""Things that mean an operation in the singular: 8 square, 8 prime."""


@lru_cache(maxsize=4096)
def canonical(word: str) -> str:
    """As it stands in the table of units: Meters -> meter, KG -> kg, hrs -> hr."""
    for spelling in (word, word.lower()) if len(word) > 1 else (word,):
        for form in (spelling, spelling.removesuffix("s")):
            if form in SHORT or (form in UNITS and (len(form) > 1 or form == spelling)):
                return {"ml": "mL"}.get(form, form)
    return word


def is_unit_word(word: str) -> bool:
    """A unit of measure, in any of its spellings."""
    name = canonical(word)
    return name in UNITS or name in SHORT


def is_thing(word: str) -> bool:
    """A counted thing, in the singular or plural."""
    word = word.lower()
    return word not in PLURAL_ONLY and any(
        form in THINGS for form in (word, word.removesuffix("s"), word.removesuffix("es")))
