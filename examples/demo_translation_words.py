"""The words of the embedded translation model's domain, in the forms that sentences need.

`SLOTS` names the tables that templates draw from: rows in three languages, where a noun knows its
genders and so its articles, and a colour agrees with a thing. Numbers and dates are written in
digits, times of day in words, as people write them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from demo_corpus import DIGITS, spell_number, spell_ordinal

_VOWELS = "aeiouyéèêàôœh"  # no word here begins with an aspirated h


@dataclass(frozen=True)
class Triple:
    """The same in three languages: `en` in capital words as spoken, `fr` and `de` as written."""

    en: str
    fr: str
    de: str

    def __str__(self) -> str:
        """Return the English."""
        return self.en


@dataclass(frozen=True)
class Noun:
    """A noun with the articles it takes; `fr_gender` is m or f, `de_gender` m, f or n."""

    en: str
    fr: str
    fr_gender: str
    de: str
    de_gender: str

    def __str__(self) -> str:
        """Return the English, without article."""
        return self.en

    def _french(self, masculine: str, feminine: str, elided: str) -> str:
        if self.fr[0] in _VOWELS:
            return elided + self.fr
        return (masculine if self.fr_gender == "m" else feminine) + self.fr

    def _german(self, masculine: str, feminine: str, neuter: str) -> str:
        article = {"m": masculine, "f": feminine, "n": neuter}[self.de_gender]
        return f"{article} {self.de}"

    @property
    def fr_the(self) -> str:
        """Le, la or l'."""
        return self._french("le ", "la ", "l'")

    @property
    def fr_of(self) -> str:
        """Du, de la or de l': also "some"."""
        return self._french("du ", "de la ", "de l'")

    @property
    def fr_at(self) -> str:
        """Au, à la or à l'."""
        return self._french("au ", "à la ", "à l'")

    @property
    def fr_my(self) -> str:
        """Mon or ma."""
        return self._french("mon ", "ma ", "mon ")

    @property
    def fr_e(self) -> str:
        """What an adjective of a feminine noun ends in."""
        return "" if self.fr_gender == "m" else "e"

    @property
    def fr_it(self) -> str:
        """Il or elle."""
        return "il" if self.fr_gender == "m" else "elle"

    @property
    def de_the(self) -> str:
        """Nominative: der, die, das."""
        return self._german("der", "die", "das")

    @property
    def de_the_acc(self) -> str:
        """Accusative: den, die, das."""
        return self._german("den", "die", "das")

    @property
    def de_next(self) -> str:
        """Nominative: der nächste, die nächste, das nächste."""
        return self._german("der nächste", "die nächste", "das nächste")

    @property
    def de_in(self) -> str:
        """Where: im or in der."""
        return self._german("im", "in der", "im")

    @property
    def de_at(self) -> str:
        """Where: am or an der."""
        return self._german("am", "an der", "am")

    @property
    def de_my(self) -> str:
        """Nominative: mein, meine."""
        return self._german("mein", "meine", "mein")

    @property
    def de_my_acc(self) -> str:
        """Accusative: meinen, meine, mein."""
        return self._german("meinen", "meine", "mein")


@dataclass(frozen=True)
class Color(Triple):
    """A colour; `fr` is masculine."""

    fr_feminine: str


@dataclass(frozen=True)
class Coloured:
    """A thing of a colour, whose forms agree with it."""

    color: Color
    thing: Noun

    def __str__(self) -> str:
        """Return the English, without article."""
        return f"{self.color} {self.thing}"

    @property
    def fr_color(self) -> str:
        """The colour in the gender of the thing."""
        return self.color.fr if self.thing.fr_gender == "m" else self.color.fr_feminine

    @property
    def fr_the(self) -> str:
        """The thing, then its colour."""
        return f"{self.thing.fr_the} {self.fr_color}"

    @property
    def de_the_acc(self) -> str:
        """Accusative: den roten Hut, die rote Tasche, das rote Buch."""
        article, noun = self.thing.de_the_acc.split()
        return f"{article} {self.color.de}{'en' if article == 'den' else 'e'} {noun}"


Row = Triple | Noun | Coloured


def lines(text: str) -> tuple[str, ...]:
    """The lines of a text without their margins."""
    return tuple(line.strip() for line in text.strip().splitlines())


def _triples(text: str) -> tuple[Triple, ...]:
    return tuple(Triple(*(part.strip() for part in line.split("|"))) for line in lines(text))


def _nouns(text: str) -> tuple[Noun, ...]:
    rows = (line.split() for line in lines(text))
    return tuple(Noun(*(word.replace("_", " ") for word in row)) for row in rows)


def _numbers(numbers: Sequence[int]) -> tuple[Triple, ...]:
    return tuple(Triple(spell_number(n), str(n), str(n)) for n in numbers)


def _digit_strings(length: int) -> tuple[Triple, ...]:
    written = [str(number).zfill(length) for number in range(10**length)]
    return tuple(Triple(" ".join(DIGITS[int(d)] for d in w), w, w) for w in written)


# ------------------------------------------------------------------------------------ time and date

_FR_NUMBERS = "une deux trois quatre cinq six sept huit neuf dix onze douze".split()
_FR_HOURS = ("une heure", *(f"{number} heures" for number in _FR_NUMBERS[1:]))
_DE_HOURS = "eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf".split()
_MINUTES = _triples("""
    FIVE | cinq | fünf
    TEN | dix | zehn
    TWENTY | vingt | zwanzig
""")
_DIGITAL_MINUTES = _triples("""
    FIFTEEN | quinze | fünfzehn
    THIRTY | trente | dreißig
    FORTY FIVE | quarante-cinq | fünfundvierzig
""")
WEEKDAYS = _triples("""
    MONDAY | lundi | Montag
    TUESDAY | mardi | Dienstag
    WEDNESDAY | mercredi | Mittwoch
    THURSDAY | jeudi | Donnerstag
    FRIDAY | vendredi | Freitag
    SATURDAY | samedi | Samstag
    SUNDAY | dimanche | Sonntag
""")
MONTHS = _triples("""
    JANUARY | janvier | Januar
    FEBRUARY | février | Februar
    MARCH | mars | März
    APRIL | avril | April
    MAY | mai | Mai
    JUNE | juin | Juni
    JULY | juillet | Juli
    AUGUST | août | August
    SEPTEMBER | septembre | September
    OCTOBER | octobre | Oktober
    NOVEMBER | novembre | November
    DECEMBER | décembre | Dezember
""")
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _oclock(hour: int) -> Triple:
    french = "midi" if hour == 12 else _FR_HOURS[hour - 1]
    german = "ein" if hour == 1 else _DE_HOURS[hour - 1]
    return Triple(f"{spell_number(hour)} O'CLOCK", french, f"{german} Uhr")


def _half_past(hour: int) -> Triple:
    french = "midi et demi" if hour == 12 else f"{_FR_HOURS[hour - 1]} et demie"
    return Triple(f"HALF PAST {spell_number(hour)}", french, f"halb {_DE_HOURS[hour % 12]}")


def _clock_times() -> Iterator[Triple]:
    for hour in range(1, 13):
        full, spoken, german = _oclock(hour), spell_number(hour), _DE_HOURS[hour - 1]
        yield full
        yield _half_past(hour)
        yield Triple(f"QUARTER PAST {spoken}", f"{full.fr} et quart", f"Viertel nach {german}")
        yield Triple(f"QUARTER TO {spoken}", f"{full.fr} moins le quart", f"Viertel vor {german}")
        for past in _MINUTES:
            yield Triple(
                f"{past} PAST {spoken}", f"{full.fr} {past.fr}", f"{past.de} nach {german}"
            )
            yield Triple(
                f"{past} TO {spoken}", f"{full.fr} moins {past.fr}", f"{past.de} vor {german}"
            )
        for after in _DIGITAL_MINUTES:
            french = f"{_FR_HOURS[hour - 1]} {after.fr}"
            yield Triple(f"{spoken} {after}", french, f"{full.de} {after.de}")
    yield Triple("MIDNIGHT", "minuit", "Mitternacht")


def _times_of_day() -> Iterator[Triple]:
    parts = (
        (Triple("IN THE MORNING", "du matin", "morgens"), range(5, 12)),
        (Triple("IN THE AFTERNOON", "de l'après-midi", "nachmittags"), range(1, 6)),
        (Triple("IN THE EVENING", "du soir", "abends"), range(6, 12)),
    )
    for part, hours in parts:
        for hour in hours:
            for time in (_oclock(hour), _half_past(hour)):
                yield Triple(f"{time} {part}", f"{time.fr} {part.fr}", f"{time.de} {part.de}")


def _dates() -> Iterator[Triple]:
    for month, num_days in zip(MONTHS, _DAYS_OF_MONTH, strict=True):
        for day in range(1, num_days + 1):
            french = f"{'1er' if day == 1 else day} {month.fr}"
            yield Triple(f"THE {spell_ordinal(day)} OF {month}", french, f"{day}. {month.de}")


def _durations() -> Iterator[Triple]:
    units = _triples("""
        MINUTES | minutes | Minuten
        SECONDS | secondes | Sekunden
        HOURS | heures | Stunden
    """)
    for unit, most in zip(units, (60, 60, 12), strict=True):
        for number in _numbers(range(2, most + 1)):
            if most == 12 or len(number.en.split()) == 1 or number.fr.endswith("5"):
                yield Triple(f"{number} {unit}", f"{number.fr} {unit.fr}", f"{number.fr} {unit.de}")


def _days() -> Iterator[Triple]:
    yield from _triples("""
        TODAY | aujourd'hui | heute
        TONIGHT | ce soir | heute Abend
        THIS MORNING | ce matin | heute Morgen
        THIS AFTERNOON | cet après-midi | heute Nachmittag
    """)
    yield from _coming_days()


def _coming_days() -> Iterator[Triple]:
    yield from _triples("""
        TOMORROW | demain | morgen
        TOMORROW MORNING | demain matin | morgen früh
        TOMORROW EVENING | demain soir | morgen Abend
        NEXT WEEK | la semaine prochaine | nächste Woche
    """)
    for day in WEEKDAYS:
        yield Triple(f"ON {day}", day.fr, f"am {day.de}")
        yield Triple(f"NEXT {day}", f"{day.fr} prochain", f"nächsten {day.de}")


# ------------------------------------------------------------------------------------------- things

_THINGS = _nouns("""
    BOOK livre m Buch n
    KEY clé f Schlüssel m
    LETTER lettre f Brief m
    PHONE téléphone m Telefon n
    KNIFE couteau m Messer n
    BAG sac m Tasche f
    HAT chapeau m Hut m
    BASKET panier m Korb m
    BOTTLE bouteille f Flasche f
    CUP tasse f Tasse f
    PICTURE tableau m Bild n
    CHAIR chaise f Stuhl m
""")
_COLORS = tuple(
    Color(*line.split())
    for line in lines("""
        BLACK noir schwarz noire
        WHITE blanc weiß blanche
        GREEN vert grün verte
        YELLOW jaune gelb jaune
        BROWN brun braun brune
        BLUE bleu blau bleue
        RED rouge rot rouge
        GRAY gris grau grise
    """)
)
_MACHINES = _nouns("""
    COMPUTER ordinateur m Computer m
    PRINTER imprimante f Drucker m
    OVEN four m Ofen m
    FAN ventilateur m Ventilator m
    HEATER chauffage m Heizung f
    CAMERA caméra f Kamera f
""")
_LIGHTS = _nouns("""
    LIGHT lumière f Licht n
    LAMP lampe f Lampe f
    RADIO radio f Radio n
    TELEVISION télévision f Fernseher m
""")
_DRINKS = _nouns("""
    MILK lait m Milch f
    COFFEE café m Kaffee m
    TEA thé m Tee m
    WATER eau f Wasser n
    JUICE jus m Saft m
""")
_FOOD = _nouns("""
    BREAD pain m Brot n
    CHEESE fromage m Käse m
    RICE riz m Reis m
    SOUP soupe f Suppe f
    FISH poisson m Fisch m
    CHICKEN poulet m Hähnchen n
    SALAD salade f Salat m
    BUTTER beurre m Butter f
    SUGAR sucre m Zucker m
    SALT sel m Salz n
    HONEY miel m Honig m
""")
_FRUIT = _triples("""
    APPLES | pommes | Äpfel
    BANANAS | bananes | Bananen
    ORANGES | oranges | Orangen
    LEMONS | citrons | Zitronen
    ONIONS | oignons | Zwiebeln
    EGGS | œufs | Eier
    TOMATOES | tomates | Tomaten
    POTATOES | pommes de terre | Kartoffeln
""")


def _servings() -> Iterator[Triple]:
    for drink in _DRINKS:
        of = f"d'{drink.fr}" if drink.fr[0] in _VOWELS else f"de {drink.fr}"
        if drink.en in ("COFFEE", "TEA", "MILK"):
            yield Triple(f"A CUP OF {drink}", f"une tasse {of}", f"eine Tasse {drink.de}")
        if drink.en in ("WATER", "JUICE", "MILK"):
            yield Triple(f"A GLASS OF {drink}", f"un verre {of}", f"ein Glas {drink.de}")


def _groceries() -> Iterator[Triple]:
    for noun in (*_FOOD, *_DRINKS):
        yield Triple(noun.en, noun.fr_of, noun.de)
    for fruit in _FRUIT:
        yield Triple(fruit.en, f"des {fruit.fr}", fruit.de)


SLOTS: dict[str, Sequence[Row]] = {
    "clock": tuple(_clock_times()),
    "daytime": tuple(_times_of_day()),
    "weekday": WEEKDAYS,
    "month": MONTHS,
    "date": tuple(_dates()),
    "day": tuple(_days()),
    "coming": tuple(_coming_days()),
    "duration": (
        *_durations(),
        *_triples("""
            ONE MINUTE | une minute | eine Minute
            ONE HOUR | une heure | eine Stunde
            HALF AN HOUR | une demi-heure | eine halbe Stunde
        """),
    ),
    "delay": (
        *_durations(),
        *_triples("""
            ONE MINUTE | une minute | einer Minute
            ONE HOUR | une heure | einer Stunde
            HALF AN HOUR | une demi-heure | einer halben Stunde
        """),
    ),
    "small": _numbers(range(2, 21)),
    "amount": _numbers(range(2, 21)),
    "degrees": _numbers(range(5, 31)),
    "heat": _numbers(range(100, 251, 10)),
    "number": _numbers(range(2, 100)),
    "hundreds": _numbers(range(100, 1000)),
    "code": _digit_strings(4),
    "room_number": _digit_strings(3),
    "ordinal": _triples("""
        FIRST | première | erste
        SECOND | deuxième | zweite
        THIRD | troisième | dritte
        FOURTH | quatrième | vierte
        FIFTH | cinquième | fünfte
        SIXTH | sixième | sechste
        SEVENTH | septième | siebte
        EIGHTH | huitième | achte
        NINTH | neuvième | neunte
        TENTH | dixième | zehnte
        LAST | dernière | letzte
        NEXT | prochaine | nächste
    """),
    "currency": _triples("""
        DOLLARS | dollars | Dollar
        EUROS | euros | Euro
    """),
    "operation": _triples("""
        PLUS | plus | plus
        MINUS | moins | minus
        TIMES | fois | mal
    """),
    "event": _nouns("""
        MEETING réunion f Besprechung f
        CONCERT concert m Konzert n
        PARTY fête f Feier f
        MOVIE film m Film m
        LESSON cours m Unterricht m
    """),
    "meal": _nouns("""
        BREAKFAST petit_déjeuner m Frühstück n
        LUNCH déjeuner m Mittagessen n
        DINNER dîner m Abendessen n
    """),
    "device": (*_LIGHTS, *_MACHINES),
    "machine": _MACHINES,
    "opening": _nouns("""
        DOOR porte f Tür f
        WINDOW fenêtre f Fenster n
        CURTAIN rideau m Vorhang m
    """),
    "lockable": _nouns("""
        DOOR porte f Tür f
        GATE portail m Tor n
    """),
    "room": _nouns("""
        KITCHEN cuisine f Küche f
        BEDROOM chambre f Schlafzimmer n
        BATHROOM salle_de_bains f Badezimmer n
        LIVING_ROOM salon m Wohnzimmer n
        GARAGE garage m Garage f
        OFFICE bureau m Büro n
        HALL entrée f Flur m
        GARDEN jardin m Garten m
    """),
    "color": _COLORS,
    "thing": _THINGS,
    "coloured": tuple(Coloured(color, thing) for color in _COLORS for thing in _THINGS),
    "drink": _DRINKS,
    "serving": tuple(_servings()),
    "grocery": tuple(_groceries()),
    "dish": tuple(noun for noun in _FOOD if noun.en in ("RICE", "SOUP", "FISH", "CHICKEN")),
    "fruit": _FRUIT,
    "music": _triples("""
        MUSIC | de la musique | Musik
        JAZZ | du jazz | Jazz
        PIANO MUSIC | du piano | Klaviermusik
    """),
    "person": tuple(
        Triple(name.upper(), name, name)
        for name in "Anna Peter Maria David Sarah Thomas Laura Michael".split()
    ),
    "family": _nouns("""
        MOTHER mère f Mutter f
        FATHER père m Vater m
        SISTER sœur f Schwester f
        BROTHER frère m Bruder m
        DAUGHTER fille f Tochter f
        DOCTOR médecin m Arzt m
        TEACHER professeur m Lehrer m
    """),
    "place": _nouns("""
        STATION gare f Bahnhof m
        MARKET marché m Markt m
        HOSPITAL hôpital m Krankenhaus n
        LIBRARY bibliothèque f Bibliothek f
        PARK parc m Park m
        SCHOOL école f Schule f
        MUSEUM musée m Museum n
        AIRPORT aéroport m Flughafen m
        CHURCH église f Kirche f
        BRIDGE pont m Brücke f
    """),
    "side": _triples("""
        LEFT | gauche | links
        RIGHT | droite | rechts
    """),
    "city": _triples("""
        LONDON | Londres | London
        PARIS | Paris | Paris
        BERLIN | Berlin | Berlin
        MADRID | Madrid | Madrid
        ROME | Rome | Rom
    """),
    "country": _triples("""
        ENGLAND | Angleterre | England
        FRANCE | France | Frankreich
        GERMANY | Allemagne | Deutschland
        SPAIN | Espagne | Spanien
        ITALY | Italie | Italien
    """),
    "language": _nouns("""
        ENGLISH anglais m Englisch n
        FRENCH français m Französisch n
        GERMAN allemand m Deutsch n
        SPANISH espagnol m Spanisch n
        ITALIAN italien m Italienisch n
    """),
    "vehicle": _nouns("""
        TRAIN train m Zug m
        BUS bus m Bus m
        BOAT bateau m Schiff n
    """),
    "by": _triples("""
        TRAIN | en train | mit dem Zug
        BUS | en bus | mit dem Bus
        BOAT | en bateau | mit dem Schiff
        CAR | en voiture | mit dem Auto
        BICYCLE | à vélo | mit dem Fahrrad
    """),
    "weather": _triples("""
        COLD | il fait froid | kalt
        WARM | il fait chaud | warm
        WINDY | il y a du vent | windig
        FOGGY | il y a du brouillard | neblig
        SUNNY | il y a du soleil | sonnig
    """),
    "rain": _triples("""
        RAIN | pleuvra | regnen
        SNOW | neigera | schneien
    """),
}
