"""The text domain of the embedded demo models: a small English for a talking house.

About five hundred words, a few hundred sentence templates over them, and the sentences that no demo
model may see while it is trained. Every recipe draws its text here, so that what one recipe holds
out the others hold out as well.

A template is a line of capital letters with `{slots}`; a slot is another list of templates in
`SLOTS`. `SENTENCES` are the templates that make a sentence.
"""

from __future__ import annotations

import functools
import random
import re
import zlib
from collections.abc import Iterable, Iterator

_SLOT = re.compile(r"\{(\w+)\}")

DIGITS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
_TEENS = (
    *("TEN", "ELEVEN", "TWELVE", "THIRTEEN", "FOURTEEN", "FIFTEEN", "SIXTEEN", "SEVENTEEN"),
    *("EIGHTEEN", "NINETEEN"),
)
_TENS = ("TWENTY", "THIRTY", "FORTY", "FIFTY", "SIXTY", "SEVENTY", "EIGHTY", "NINETY")
_IRREGULAR_ORDINALS = {
    "ONE": "FIRST",
    "TWO": "SECOND",
    "THREE": "THIRD",
    "FIVE": "FIFTH",
    "EIGHT": "EIGHTH",
    "NINE": "NINTH",
    "TWELVE": "TWELFTH",
}


def spell_number(number: int) -> str:
    """Spell a whole number in capital words.

    Args:
        number: 0 up to 999,999.

    Returns:
        For example "ONE HUNDRED AND TWENTY FIVE".

    Raises:
        ValueError: `number` is outside the range.
    """
    if not 0 <= number < 1_000_000:
        raise ValueError(f"{number} is outside 0..999999")
    if number >= 1000:
        thousands, rest = divmod(number, 1000)
        joint = " AND " if 0 < rest < 100 else " "
        return f"{spell_number(thousands)} THOUSAND" + (joint + spell_number(rest) if rest else "")
    if number >= 100:
        hundreds, rest = divmod(number, 100)
        return f"{DIGITS[hundreds]} HUNDRED" + (f" AND {spell_number(rest)}" if rest else "")
    if number >= 20:
        tens, unit = divmod(number, 10)
        return _TENS[tens - 2] + (f" {DIGITS[unit]}" if unit else "")
    return _TEENS[number - 10] if number >= 10 else DIGITS[number]


def spell_ordinal(number: int) -> str:
    """Spell the place in a row, 1 to 99, as in "TWENTY FIRST".

    Raises:
        ValueError: `number` is outside the range.
    """
    if not 1 <= number < 100:
        raise ValueError(f"{number} is outside 1..99")
    *front, last = spell_number(number).split()
    if last in _IRREGULAR_ORDINALS:
        last = _IRREGULAR_ORDINALS[last]
    elif last.endswith("Y"):
        last = last[:-1] + "IETH"
    else:
        last += "TH"
    return " ".join([*front, last])


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


SLOTS: dict[str, tuple[str, ...]] = {
    "digit": DIGITS,
    "hour": tuple(spell_number(n) for n in range(1, 13)),
    "minute": ("FIVE", "TEN", "FIFTEEN", "TWENTY", "TWENTY FIVE", "THIRTY", "FORTY", "FIFTY"),
    "small": tuple(spell_number(n) for n in range(2, 21)),
    "number": tuple(spell_number(n) for n in (*range(2, 100), *range(100, 1000, 37), 1000, 2000)),
    "ordinal": tuple(spell_ordinal(n) for n in range(1, 32)),
    "clock": _lines("""
        {hour} O'CLOCK
        {hour} THIRTY
        {hour} FIFTEEN
        HALF PAST {hour}
        QUARTER PAST {hour}
        {minute} PAST {hour}
        {minute} MINUTES TO {hour}
        NOON
        MIDNIGHT
    """),
    "duration": _lines("""
        {small} MINUTES
        {small} SECONDS
        {small} HOURS
        {small} DAYS
        ONE MINUTE
        HALF AN HOUR
        AN HOUR
        {minute} MINUTES
    """),
    "weekday": _words("MONDAY TUESDAY WEDNESDAY THURSDAY FRIDAY SATURDAY SUNDAY"),
    "month": _words(
        "JANUARY FEBRUARY MARCH APRIL MAY JUNE JULY AUGUST SEPTEMBER OCTOBER NOVEMBER DECEMBER"
    ),
    "season": _words("SPRING SUMMER AUTUMN WINTER"),
    "date": _lines("""
        THE {ordinal} OF {month}
        {month} {ordinal}
        {weekday} THE {ordinal}
    """),
    "when": _lines("""
        TODAY
        TOMORROW
        TONIGHT
        THIS MORNING
        THIS EVENING
        THIS AFTERNOON
        NEXT {weekday}
        ON {weekday}
        NEXT WEEK
        AT {clock}
        AT NIGHT
        IN THE MORNING
        AFTER LUNCH
        BEFORE DINNER
        IN {duration}
    """),
    "past": _lines("""
        YESTERDAY
        LAST NIGHT
        LAST WEEK
        LAST {weekday}
        LAST {season}
        {small} DAYS AGO
        A LONG TIME AGO
    """),
    "color": _words("BLACK WHITE GREEN YELLOW BROWN ORANGE PURPLE PINK GRAY SILVER BLUE RED"),
    "room": _words("KITCHEN BEDROOM BATHROOM GARAGE OFFICE HALL GARDEN BASEMENT"),
    "device": _words("LIGHT LAMP HEATER FAN RADIO TELEVISION CAMERA COMPUTER PRINTER OVEN"),
    "opening": _words("DOOR WINDOW GATE CURTAIN"),
    "person": _words("ANNA PETER MARIA DAVID SARAH THOMAS LAURA MICHAEL"),
    "family": _words("MOTHER FATHER SISTER BROTHER DAUGHTER FRIEND NEIGHBOR DOCTOR TEACHER"),
    "people": _words("FARMER DOCTOR TEACHER DRIVER COOK CHILD WOMAN MAN BOY GIRL QUEEN KING"),
    "animal": _words("DOG CAT HORSE BIRD FISH RABBIT MOUSE COW FOX ELEPHANT"),
    "animals": _words("DOGS CATS BIRDS HORSES RABBITS COWS"),
    "food": _words("BREAD CHEESE RICE SOUP FISH CHICKEN SALAD BUTTER SUGAR SALT CAKE HONEY"),
    "fruit": _words("APPLES BANANAS ORANGES LEMONS POTATOES ONIONS EGGS TOMATOES"),
    "drink": _words("WATER COFFEE MILK JUICE TEA"),
    "thing": _words(
        "BOOK BOX CHAIR TABLE BOTTLE KNIFE CUP LETTER PICTURE BASKET PHONE KEY BAG HAT"
    ),
    "cloth": _words("SHIRT JACKET COAT SHOES HAT DRESS"),
    "vehicle": _words("CAR BUS TRAIN BOAT BICYCLE TRUCK"),
    "city": _words("LONDON PARIS BERLIN MADRID ROME"),
    "country": _words("ENGLAND FRANCE GERMANY SPAIN ITALY AMERICA"),
    "language": _words("ENGLISH FRENCH GERMAN SPANISH ITALIAN"),
    "place": _words(
        "HOUSE SCHOOL STATION MARKET HOSPITAL LIBRARY PARK BRIDGE RIVER FOREST MOUNTAIN BEACH"
        " AIRPORT CHURCH MUSEUM STREET VILLAGE"
    ),
    "direction": _words("LEFT RIGHT NORTH SOUTH EAST WEST"),
    "weather": _words("SUNNY CLOUDY WINDY WARM COLD HOT WET DRY FOGGY"),
    "sky": _words("RAIN SNOW THUNDER WIND"),
    "mood": _words("HAPPY SAD TIRED HUNGRY ANGRY THIRSTY BUSY READY SICK SURPRISED AFRAID"),
    "size": _words("BIG SMALL LARGE LITTLE LONG SHORT HEAVY TALL"),
    "quality": _words("OLD NEW YOUNG GOOD BEAUTIFUL STRONG CLEAN DIRTY SLOW QUICK QUIET BROKEN"),
    "adverb": _words("QUICKLY SLOWLY CAREFULLY QUIETLY AGAIN ALONE"),
    "music": _words("MUSIC JAZZ PIANO GUITAR VIOLIN"),
    "sport": _words("FOOTBALL TENNIS CHESS BASKETBALL"),
    "verbed": _words(
        "FOLLOWED WATCHED FOUND CARRIED PAINTED PUSHED PULLED DROPPED TOUCHED WASHED HEARD LOVED"
        " REMEMBERED BOUGHT BROUGHT LOST MOVED WANTED"
    ),
    "went": _words("WALKED RAN SLEPT JUMPED WAITED STOPPED TURNED LAUGHED CRIED SMILED"),
    "doing": _words("READING WRITING SLEEPING SINGING DANCING SWIMMING COOKING WORKING WALKING"),
    "describing": ("{size}", "{quality}", "{color}"),
    "being": ("{people}", "{animal}"),
    "subject": _lines("""
        THE {being}
        THE {describing} {being}
        MY {family}
        {person}
        A {size} {animal}
        THE {animals}
    """),
    "object": _lines("""
        THE {thing}
        A {color} {thing}
        THE {describing} {thing}
        THE {animal}
        A {describing} {vehicle}
        THE {cloth}
        THE {ordinal} {thing}
    """),
    "where": _lines("""
        IN THE {room}
        IN THE {place}
        NEAR THE {place}
        BEHIND THE {place}
        UNDER THE TABLE
        ON THE CHAIR
        BETWEEN THE {place} AND THE {place}
        ACROSS THE {place}
    """),
    "clause": _lines("""
        {subject} {verbed} {object}
        {subject} {went} {where}
        {subject} IS {mood}
        WE WENT TO THE {place}
        I SAW {object}
        SHE LIKES {food}
        HE WAS {doing} {where}
        IT IS {weather}
        THEY LIVE IN {city}
        THE {device} IS ON
        THE {opening} IS OPEN
    """),
    "command": _lines("""
        TURN ON THE {device}
        TURN OFF THE {device}
        OPEN THE {opening}
        CLOSE THE {opening}
        CALL {person}
        PLAY SOME {music}
        PUT {object} {where}
        BRING ME A CUP OF {drink}
        WASH THE {cloth}
        READ THE {thing}
        STOP THE MUSIC
    """),
}

SENTENCES = _lines("""
    TURN ON THE {device} IN THE {room}
    TURN OFF THE {device} IN THE {room}
    TURN THE {device} OFF {when}
    SWITCH THE {device} TO {color}
    MAKE THE LIGHT IN THE {room} {color}
    OPEN THE {opening} IN THE {room}
    CLOSE THE {opening} OF THE {room} {when}
    LOCK THE {opening} AT {clock}
    IS THE {opening} OPEN OR CLOSED
    IS THE {device} STILL ON IN THE {room}
    SET THE TEMPERATURE TO {number} DEGREES
    SET THE HEATER IN THE {room} TO {small} DEGREES
    HOW WARM IS THE {room}
    SET AN ALARM FOR {clock}
    SET A TIMER FOR {duration}
    WAKE ME UP AT {clock} {when}
    STOP THE TIMER AND START AGAIN
    HOW MUCH TIME IS LEFT
    REMIND ME TO CALL {person} {when}
    REMIND ME TO BUY {food} {when}
    WHAT TIME IS IT IN {city}
    IT IS {clock} NOW
    THE TIME IS {clock}
    TODAY IS {weekday} {date}
    MY BIRTHDAY IS ON {date}
    THE MEETING IS ON {weekday} AT {clock}
    THE MEETING WITH {person} STARTS AT {clock}
    CAN WE MEET ON {date}
    WHAT IS THE DATE {when}
    WE WILL TRAVEL TO {country} IN {month}
    THE NUMBER IS {number}
    {number} PLUS {number} IS {number}
    {number} MINUS {number} IS {number}
    THE ROOM NUMBER IS {digit} {digit} {digit}
    MY PHONE NUMBER IS {digit} {digit} {digit} {digit} {digit}
    THE CODE IS {digit} {digit} {digit} {digit}
    WRITE DOWN THE NUMBER {number}
    THERE ARE {number} {animals} IN THE {place}
    I HAVE {small} {fruit} AND {small} {fruit}
    IT COSTS {number} DOLLARS
    THE {thing} COSTS {number} DOLLARS
    THE {vehicle} LEAVES AT {clock}
    THE {vehicle} TO {city} LEAVES IN {duration}
    THE NEXT {vehicle} ARRIVES AT {clock}
    WHEN DOES THE {vehicle} TO {city} LEAVE
    I WANT TO GO TO {city} BY {vehicle}
    HOW FAR IS IT FROM {city} TO {city}
    TURN {direction} AT THE {place}
    GO STRAIGHT AND THEN TURN {direction}
    THE {place} IS {direction} OF THE {place}
    WHERE IS THE {place}
    WHERE IS MY {color} {cloth}
    HOW DO I GET TO THE {place}
    THE {place} IS NEAR THE {place}
    ADD {food} TO THE SHOPPING LIST
    ADD {fruit} AND {food} TO THE LIST
    WE NEED {food} AND {fruit} FOR DINNER
    DO WE HAVE ANY {food} LEFT
    I WOULD LIKE A CUP OF {drink} WITH {food}
    COULD I HAVE SOME {drink} AND SOME {food}
    CAN I HAVE A GLASS OF {drink}
    SHE LIKES {drink} WITH SUGAR
    THE {food} TASTES VERY GOOD
    COOK THE {food} FOR {duration}
    CUT THE {food} WITH A KNIFE
    PUT THE {food} IN THE OVEN FOR {duration}
    BREAKFAST IS READY AT {clock}
    WHAT IS FOR DINNER {when}
    PLAY SOME {music} IN THE {room}
    PLAY THE {ordinal} SONG
    PLAY THE NEXT SONG AGAIN
    TURN THE VOLUME UP TO {small}
    THE MUSIC IS TOO LOUD
    STOP THE MUSIC IN THE {room}
    CALL {person} {when}
    CALL MY {family} {when}
    SEND A MESSAGE TO {person}
    SEND A LETTER TO MY {family} IN {city}
    READ MY LAST MESSAGE FROM {person}
    TELL {person} THAT I AM {mood}
    TELL MY {family} THAT WE ARE LATE
    WHAT IS THE WEATHER LIKE {when}
    WILL THERE BE {sky} {when}
    WILL IT BE {weather} {when}
    IT WILL BE {weather} AND {weather} {when}
    THE WEATHER IN {city} IS {weather}
    IT WAS VERY {weather} {past}
    THERE WAS {sky} {past}
    THE {season} IN {country} IS {weather}
    I DO NOT LIKE THE {sky}
    GOOD MORNING {person}
    GOOD EVENING MY FRIEND
    HELLO {person} HOW ARE YOU {when}
    THANK YOU VERY MUCH
    THANK YOU FOR THE {thing}
    I AM {mood} {when}
    ARE YOU {mood} OR {mood}
    WHY ARE YOU {mood}
    SEE YOU {when}
    MY NAME IS {person}
    THIS IS MY {family} {person}
    HOW OLD IS YOUR {family}
    MY {family} IS {number} YEARS OLD
    DO YOU SPEAK {language}
    I SPEAK {language} AND A LITTLE {language}
    SHE LEARNS {language} AT SCHOOL
    PLEASE SPEAK MORE {adverb}
    I DO NOT UNDERSTAND THE QUESTION
    THE ANSWER IS {number}
    PLEASE ANSWER THE {ordinal} QUESTION
    WHO IS {doing} IN THE {room}
    {person} IS {doing} IN THE {place}
    MY {family} IS {doing} {when}
    WE LIKE {doing} AND {doing}
    LET US PLAY {sport} {when}
    THEY PLAYED {sport} {past}
    DO YOU LIKE {sport} OR {sport}
    THE {being} {verbed} THE {being}
    THE {describing} {being} {verbed} THE {being}
    THE {being} {verbed} {object}
    {subject} {verbed} {object}
    {subject} {verbed} {object} {past}
    {subject} {verbed} {object} {where}
    {subject} {went} {where}
    {subject} {went} {adverb} {where}
    {subject} {went} {where} {past}
    {subject} LIVES {where}
    {person} AND {person} {went} {where}
    THE {being} IS {where}
    THE {thing} IS {where}
    THE {color} {thing} IS {where}
    THERE IS A {describing} {being} {where}
    THERE IS A {color} {vehicle} {where}
    I FOUND THE {thing} {where}
    WE SAW A {size} {animal} {where}
    HE GAVE THE {thing} TO THE {people}
    SHE BOUGHT A {color} {cloth} IN {city}
    SHE BOUGHT {fruit} AT THE MARKET {past}
    HE BROUGHT {object} FROM {country}
    {person} LOST THE {thing} {past}
    THE {people} TOLD THE CHILDREN A STORY
    THE CHILDREN ARE {doing} {where}
    THE {animals} ARE {mood}
    THE {animal} IS {size} AND {color}
    THE {thing} WAS {quality} AND {size}
    THE {vehicle} IS VERY {quality}
    MY {cloth} IS {color} AND {color}
    WHICH {thing} IS {color}
    IS THIS YOUR {thing} OR MINE
    WHO {verbed} THE {thing}
    DID YOU SEE THE {describing} {thing}
    I CANNOT FIND MY {thing}
    GIVE ME THE {color} {thing}
    PLEASE BRING ME THE {describing} {thing}
    PUT THE {thing} ON THE TABLE
    TAKE THE {thing} OUT OF THE {room}
    THE {ordinal} {thing} IS {color}
    SHOW ME THE {ordinal} PICTURE
    SHOW ME THE WAY TO THE {place}
    START THE {device} {when}
    THE {device} IN THE {room} IS BROKEN
    THE BATTERY OF THE {device} IS EMPTY
    WHAT DO YOU THINK ABOUT THE {thing}
    WE SHOULD LEAVE {when}
    I WILL BE AT THE {place} {when}
    {person} WILL COME HOME {when}
    EVERY {weekday} WE GO TO THE {place}
    NEVER OPEN THE {opening} AT NIGHT
    YES PLEASE
    NO THANK YOU
    I DO NOT KNOW
    I THINK SO
""")

CONNECTED = _lines("""
    {clause} AND {clause}
    {clause} BUT {clause}
    {clause} BECAUSE {clause}
    {clause} WHILE {clause}
    {clause} SO {clause}
    WHEN {clause} {clause}
    IF {clause} {command}
    {command} AND {command}
    FIRST {command} THEN {command}
    {command} BEFORE {clause}
    {command} AFTER {clause}
    {person} SAID THAT {clause}
    I THINK THAT {clause}
    DO YOU KNOW WHY {clause}
    I HOPE THAT {clause}
    PLEASE {command} {when}
    PLEASE {command} WHEN {clause}
    {past} {clause}
""")

HAND_WRITTEN = _lines("""
    PLEASE SHOW MY MOTHER THE BIG GARDEN BEHIND OUR HOUSE
    THE OLD KING NEVER FOUND HIS SILVER KEY
    MY BROTHER WOULD LIKE SOME HONEY IN HIS TEA
    THERE ARE TOO MANY CARS ON THE BRIDGE THIS MORNING
    A RABBIT AND A FOX MEET UNDER THE OLD TABLE
    WHO WILL WASH ALL THE DIRTY CUPS AFTER BREAKFAST
    MARIA HEARD THE WIND AND THE RAIN ALL NIGHT
    DO NOT FORGET THE BREAD AND THE BUTTER
    TWENTY SMALL BIRDS ARE SINGING ABOUT THE SUMMER
    THE LIBRARY HAS MORE BOOKS THAN THE SCHOOL
    I HAVE NOT BEEN HAPPY SINCE THE LAST WINTER
    NOBODY WANTED THE YELLOW HAT SO I BOUGHT IT
    EVERY CHILD IN THIS VILLAGE HAS A BICYCLE
    HIS SISTER CARRIED THE HEAVY BASKET FROM THE MARKET TO THE BOAT
    WE WAITED AN HOUR FOR THE TRAIN TO BERLIN
    THE QUIET WOMAN IN THE PURPLE DRESS IS OUR TEACHER
    CAN YOU REMEMBER WHERE YOU LOST YOUR PHONE
    ON FRIDAY EVENING THE MUSEUM CLOSES AT NINE
    THE FARMER GAVE HIS HORSE WATER AND SALT
    DAVID READ THE LONG LETTER TWICE AND SMILED
    LET THE SOUP GET COLD BEFORE YOU EAT IT
    THIS COMPUTER IS NEW BUT THE PRINTER IS VERY OLD
    IT WAS A WARM NIGHT AND THE WINDOW WAS OPEN
    SOMEBODY PAINTED A WHITE ELEPHANT ON THE GARAGE DOOR
""")
"""Sentences no template makes, of words the vocabulary knows; for measuring only."""

_EXTRA_WORDS = _words(
    "ALL ALSO ALWAYS AM BEEN BOTTLES BOOKS CARS CLOSES CUPS EACH EAT EVERYBODY FORGET GIVE HAD"
    " HAS HELP HER HIM HIS HOLD HOME HOURS ITS JUST KNOWS LOOK MAKE MANY MAYBE MONEY MORE NOBODY"
    " NOTHING OUR OVER OTHER PAUSE PERHAPS RECORD SAY SINCE SKIP SOMEBODY SOMETHING SORRY STAND"
    " THAN THEIR THESE THING THOSE THROUGH TWICE US WAIT WALK WERE WORK WORLD WRONG HUNDRED"
    " THOUSAND MILLION LOUDER QUIETER FASTER BRIGHTER DARKER CANCEL REPEAT CONTINUE VOLUME"
    " WINDOWS DOORS LIGHTS"
)
"""Words that only word salads train."""

_SOUND_ALIKE = frozenset(
    _words(
        "TO TOO TWO FOR FOUR EIGHT ONE THEIR THERE WRITE RIGHT KNOW NO MEET RED READ BLUE BY BUY"
        " WHERE WEATHER HERE HEAR SEE I OUR HOUR HOURS ITS"
    )
)
"""Only a sentence around them tells how these are spelt, so salads leave them out."""

_HELD_OUT_SHARE = 40
_HELD_OUT_MIN_WORDS = 4


def is_held_out(sentence: str) -> bool:
    """Tell whether a sentence is kept for measuring, by its own checksum.

    One in forty sentences of four words or more is, and every hand-written one. The answer depends
    on nothing else, so recipes agree on it without sharing a list.
    """
    if sentence in HAND_WRITTEN:
        return True
    if len(sentence.split()) < _HELD_OUT_MIN_WORDS:
        return False
    return zlib.crc32(sentence.encode("ascii")) % _HELD_OUT_SHARE == 0


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """List every word of the domain, sorted."""
    texts: list[str] = [*SENTENCES, *CONNECTED, *HAND_WRITTEN, *_EXTRA_WORDS]
    for options in SLOTS.values():
        texts.extend(options)
    return tuple(sorted({word for text in texts for word in _SLOT.sub(" ", text).split()}))


@functools.cache
def _salad_words() -> tuple[str, ...]:
    return tuple(word for word in vocabulary() if word not in _SOUND_ALIKE)


def expand(template: str, rng: random.Random) -> str:
    """Fill every slot of a template at random, slots within slots included."""
    while match := _SLOT.search(template):
        filler = rng.choice(SLOTS[match[1]])
        template = template[: match.start()] + filler + template[match.end() :]
    return template


def sample_salad(rng: random.Random) -> str:
    """Draw one to seven words with no grammar, each as likely as any other."""
    return " ".join(rng.choices(_salad_words(), k=rng.randint(1, 7)))


def sample_digits(rng: random.Random, longest: int = 7) -> str:
    """Draw a string of one to `longest` digits."""
    return " ".join(rng.choices(DIGITS, k=rng.randint(1, longest)))


def sample_sentence(rng: random.Random) -> str:
    """Draw a sentence, one in four of them with a connective."""
    return expand(rng.choice(CONNECTED if rng.random() < 0.25 else SENTENCES), rng)


def training_texts(rng: random.Random) -> Iterator[str]:
    """Draw training texts without end: sentences, salads and digits, nothing held out."""
    while True:
        kind = rng.random()
        if kind < 0.63:
            text = sample_sentence(rng)
        elif kind < 0.93:
            text = sample_salad(rng)
        else:
            text = sample_digits(rng)
        if not is_held_out(text):
            yield text


def held_out_sentences(count: int, rng: random.Random) -> list[str]:
    """Draw different template sentences that `training_texts` never yields."""
    chosen: dict[str, None] = {}
    while len(chosen) < count:
        text = sample_sentence(rng)
        if is_held_out(text):
            chosen[text] = None
    return list(chosen)


def letters_of(texts: Iterable[str]) -> set[str]:
    """Collect the characters that texts are written with, the blank between words left out."""
    return set("".join(texts)) - {" "}
