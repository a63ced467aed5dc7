"""The text domain of the embedded translation model: what one says to a house, in three languages.

Times of day, dates, numbers and simple commands, each as the English words that are spoken and the
French and German sentences that are written. A sentence has one translation a language, and no two
sentences have the same, so that a sentence is held out with its translations.

A template is three lines, one a language, whose `{slots}` name tables in `SLOTS`: `{thing}` is the
English of a row, `{thing.fr_the}` one of the forms of its French. A digit after the name of a slot
asks for another row of the same table.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping

from demo_corpus import is_held_out
from demo_translation_words import SLOTS, Row, Triple, lines

LANGUAGES = ("fr", "de")

_SLOT = re.compile(r"\{(\w+?\d?)[.}]")
_BRACES = re.compile(r"\{[^}]*\}")


def _stanzas(text: str) -> tuple[Triple, ...]:
    rows = lines(text)
    return tuple(map(Triple, rows[::3], rows[1::3], rows[2::3]))


TIMES = _stanzas("""
    IT IS {clock}
        il est {clock.fr}.
        es ist {clock.de}.
    IT IS {daytime}
        il est {daytime.fr}.
        es ist {daytime.de}.
    THE {event} STARTS AT {clock}
        {event.fr_the} commence à {clock.fr}.
        {event.de_the} beginnt um {clock.de}.
    THE MEETING WITH {person} STARTS AT {clock}
        la réunion avec {person.fr} commence à {clock.fr}.
        die Besprechung mit {person.de} beginnt um {clock.de}.
    THE {event} IS ON {weekday} AT {clock}
        {event.fr_the} est {weekday.fr} à {clock.fr}.
        {event.de_the} ist am {weekday.de} um {clock.de}.
    {meal} IS AT {clock}
        {meal.fr_the} est à {clock.fr}.
        {meal.de_the} ist um {clock.de}.
    THE {vehicle} TO {city} LEAVES AT {clock}
        {vehicle.fr_the} pour {city.fr} part à {clock.fr}.
        {vehicle.de_the} nach {city.de} fährt um {clock.de} ab.
    THE {vehicle} TO {city} LEAVES IN {delay}
        {vehicle.fr_the} pour {city.fr} part dans {delay.fr}.
        {vehicle.de_the} nach {city.de} fährt in {delay.de} ab.
    THE NEXT {vehicle} ARRIVES AT {clock}
        le prochain {vehicle.fr} arrive à {clock.fr}.
        {vehicle.de_next} kommt um {clock.de} an.
    THE SHOP OPENS AT {clock}
        le magasin ouvre à {clock.fr}.
        das Geschäft öffnet um {clock.de}.
    THE SHOP CLOSES AT {clock}
        le magasin ferme à {clock.fr}.
        das Geschäft schließt um {clock.de}.
    WHAT TIME IS IT IN {city}
        quelle heure est-il à {city.fr} ?
        wie spät ist es in {city.de}?
""")
DATES = _stanzas("""
    TODAY IS {weekday} {date}
        aujourd'hui, c'est le {weekday.fr} {date.fr}.
        heute ist {weekday.de}, der {date.de}.
    MY BIRTHDAY IS ON {date}
        mon anniversaire est le {date.fr}.
        mein Geburtstag ist am {date.de}.
    THE {event} IS ON {date}
        {event.fr_the} est le {date.fr}.
        {event.de_the} ist am {date.de}.
    CAN WE MEET ON {date}
        pouvons-nous nous voir le {date.fr} ?
        können wir uns am {date.de} treffen?
    CAN WE MEET ON {weekday} AT {clock}
        pouvons-nous nous voir {weekday.fr} à {clock.fr} ?
        können wir uns am {weekday.de} um {clock.de} treffen?
    WE WILL TRAVEL TO {country} IN {month}
        nous irons en {country.fr} en {month.fr}.
        wir reisen im {month.de} nach {country.de}.
    WE WILL TRAVEL TO {country} ON {date}
        nous irons en {country.fr} le {date.fr}.
        wir reisen am {date.de} nach {country.de}.
""")
NUMBERS = _stanzas("""
    IT COSTS {number} {currency}
        cela coûte {number.fr} {currency.fr}.
        das kostet {number.de} {currency.de}.
    IT COSTS {hundreds} {currency}
        cela coûte {hundreds.fr} {currency.fr}.
        das kostet {hundreds.de} {currency.de}.
    THE {thing} COSTS {number} {currency}
        {thing.fr_the} coûte {number.fr} {currency.fr}.
        {thing.de_the} kostet {number.de} {currency.de}.
    THE ANSWER IS {number}
        la réponse est {number.fr}.
        die Antwort ist {number.de}.
    THE ANSWER IS {hundreds}
        la réponse est {hundreds.fr}.
        die Antwort ist {hundreds.de}.
    WRITE DOWN THE NUMBER {number}
        note le nombre {number.fr}.
        schreib die Zahl {number.de} auf.
    HOW MUCH IS {small} {operation} {amount}
        combien font {small.fr} {operation.fr} {amount.fr} ?
        wie viel ist {small.de} {operation.de} {amount.de}?
    THE CODE IS {code}
        le code est {code.fr}.
        der Code ist {code.de}.
    THE ROOM NUMBER IS {room_number}
        le numéro de la chambre est {room_number.fr}.
        die Zimmernummer ist {room_number.de}.
    MY {family} IS {number} YEARS OLD
        {family.fr_my} a {number.fr} ans.
        {family.de_my} ist {number.de} Jahre alt.
    WE NEED {small} {fruit}
        il nous faut {small.fr} {fruit.fr}.
        wir brauchen {small.de} {fruit.de}.
    I HAVE {small} {fruit} AND {amount} {fruit2}
        j'ai {small.fr} {fruit.fr} et {amount.fr} {fruit2.fr}.
        ich habe {small.de} {fruit.de} und {amount.de} {fruit2.de}.
""")
COMMANDS = _stanzas("""
    TURN ON THE {device}
        allume {device.fr_the}.
        schalte {device.de_the_acc} ein.
    TURN OFF THE {device}
        éteins {device.fr_the}.
        schalte {device.de_the_acc} aus.
    TURN ON THE {device} IN THE {room}
        allume {device.fr_the} dans {room.fr_the}.
        schalte {device.de_the_acc} {room.de_in} ein.
    TURN OFF THE {device} IN THE {room}
        éteins {device.fr_the} dans {room.fr_the}.
        schalte {device.de_the_acc} {room.de_in} aus.
    TURN OFF THE {device} AT {clock}
        éteins {device.fr_the} à {clock.fr}.
        schalte {device.de_the_acc} um {clock.de} aus.
    TURN ON THE {device} IN {delay}
        allume {device.fr_the} dans {delay.fr}.
        schalte {device.de_the_acc} in {delay.de} ein.
    START THE {machine} {day}
        démarre {machine.fr_the} {day.fr}.
        starte {machine.de_the_acc} {day.de}.
    OPEN THE {opening}
        ouvre {opening.fr_the}.
        öffne {opening.de_the_acc}.
    CLOSE THE {opening}
        ferme {opening.fr_the}.
        schließ {opening.de_the_acc}.
    OPEN THE {opening} IN THE {room}
        ouvre {opening.fr_the} {room.fr_of}.
        öffne {opening.de_the_acc} {room.de_in}.
    CLOSE THE {opening} IN THE {room}
        ferme {opening.fr_the} {room.fr_of}.
        schließ {opening.de_the_acc} {room.de_in}.
    LOCK THE {lockable} AT {clock}
        verrouille {lockable.fr_the} à {clock.fr}.
        schließ {lockable.de_the_acc} um {clock.de} ab.
    MAKE THE LIGHT IN THE {room} {color}
        mets la lumière {room.fr_of} en {color.fr}.
        mach das Licht {room.de_in} {color.de}.
    SET THE TEMPERATURE TO {degrees} DEGREES
        règle la température sur {degrees.fr} degrés.
        stell die Temperatur auf {degrees.de} Grad.
    SET THE HEATER IN THE {room} TO {degrees} DEGREES
        règle le chauffage {room.fr_of} sur {degrees.fr} degrés.
        stell die Heizung {room.de_in} auf {degrees.de} Grad.
    SET THE OVEN TO {heat} DEGREES
        règle le four sur {heat.fr} degrés.
        stell den Ofen auf {heat.de} Grad.
    SET AN ALARM FOR {clock}
        mets un réveil à {clock.fr}.
        stell einen Wecker auf {clock.de}.
    SET AN ALARM FOR {daytime}
        mets un réveil à {daytime.fr}.
        stell einen Wecker auf {daytime.de}.
    SET A TIMER FOR {duration}
        mets un minuteur de {duration.fr}.
        stell einen Timer auf {duration.de}.
    WAKE ME UP AT {clock} {coming}
        réveille-moi {coming.fr} à {clock.fr}.
        weck mich {coming.de} um {clock.de}.
    STOP THE TIMER
        arrête le minuteur.
        stopp den Timer.
    STOP THE MUSIC
        arrête la musique.
        stopp die Musik.
    STOP THE MUSIC IN THE {room}
        arrête la musique dans {room.fr_the}.
        stopp die Musik {room.de_in}.
    PLAY SOME {music}
        mets {music.fr}.
        spiel {music.de}.
    PLAY SOME {music} IN THE {room}
        mets {music.fr} dans {room.fr_the}.
        spiel {music.de} {room.de_in}.
    PLAY THE {ordinal} SONG
        joue la {ordinal.fr} chanson.
        spiel das {ordinal.de} Lied.
    TURN THE VOLUME UP TO {small}
        monte le volume à {small.fr}.
        stell die Lautstärke auf {small.de}.
    CALL {person} {day}
        appelle {person.fr} {day.fr}.
        ruf {person.de} {day.de} an.
    CALL MY {family}
        appelle {family.fr_my}.
        ruf {family.de_my_acc} an.
    CALL MY {family} {day}
        appelle {family.fr_my} {day.fr}.
        ruf {family.de_my_acc} {day.de} an.
    SEND A MESSAGE TO {person}
        envoie un message à {person.fr}.
        schick {person.de} eine Nachricht.
    TELL {person} THAT WE ARE LATE
        dis à {person.fr} que nous sommes en retard.
        sag {person.de}, dass wir zu spät kommen.
    TELL {person} THAT I WILL COME AT {clock}
        dis à {person.fr} que je viendrai à {clock.fr}.
        sag {person.de}, dass ich um {clock.de} komme.
    REMIND ME TO CALL {person} {coming}
        rappelle-moi d'appeler {person.fr} {coming.fr}.
        erinnere mich {coming.de} daran, {person.de} anzurufen.
    REMIND ME TO BUY {grocery} {day}
        rappelle-moi d'acheter {grocery.fr} {day.fr}.
        erinnere mich {day.de} daran, {grocery.de} zu kaufen.
    ADD {grocery} TO THE SHOPPING LIST
        ajoute {grocery.fr} à la liste de courses.
        setz {grocery.de} auf die Einkaufsliste.
    BUY {small} {fruit} AND {grocery}
        achète {small.fr} {fruit.fr} et {grocery.fr}.
        kauf {small.de} {fruit.de} und {grocery.de}.
    COOK THE {dish} FOR {duration}
        fais cuire {dish.fr_the} pendant {duration.fr}.
        koch {dish.de_the_acc} {duration.de} lang.
    BRING ME {serving}
        apporte-moi {serving.fr}.
        bring mir {serving.de}.
    BRING ME THE {coloured}
        apporte-moi {coloured.fr_the}.
        bring mir {coloured.de_the_acc}.
    TURN {side} AT THE {place}
        tourne à {side.fr} {place.fr_at}.
        bieg {place.de_at} {side.de} ab.
""")
TALK = _stanzas("""
    IS THE {device} ON
        {device.fr_the} est-{device.fr_it} allumé{device.fr_e} ?
        ist {device.de_the} an?
    THE {device} IN THE {room} IS BROKEN
        {device.fr_the} {room.fr_of} ne marche plus.
        {device.de_the} {room.de_in} ist kaputt.
    IS THE {opening} IN THE {room} OPEN
        {opening.fr_the} {room.fr_of} est-{opening.fr_it} ouvert{opening.fr_e} ?
        ist {opening.de_the} {room.de_in} offen?
    THE {opening} IN THE {room} IS CLOSED
        {opening.fr_the} {room.fr_of} est fermé{opening.fr_e}.
        {opening.de_the} {room.de_in} ist zu.
    HOW WARM IS IT IN THE {room}
        quelle température fait-il dans {room.fr_the} ?
        wie warm ist es {room.de_in}?
    I CANNOT FIND MY {thing}
        je ne trouve pas {thing.fr_my}.
        ich finde {thing.de_my_acc} nicht.
    WHERE IS MY {thing}
        où est {thing.fr_my} ?
        wo ist {thing.de_my}?
    WHERE IS THE {place}
        où est {place.fr_the} ?
        wo ist {place.de_the}?
    THE {coloured.thing} IS {coloured.color}
        {coloured.thing.fr_the} est {coloured.fr_color}.
        {coloured.thing.de_the} ist {coloured.color.de}.
    WHEN DOES THE {vehicle} TO {city} LEAVE
        quand part {vehicle.fr_the} pour {city.fr} ?
        wann fährt {vehicle.de_the} nach {city.de} ab?
    HOW FAR IS IT FROM {city} TO {city2}
        quelle est la distance de {city.fr} à {city2.fr} ?
        wie weit ist es von {city.de} nach {city2.de}?
    I WANT TO GO TO {city} BY {by}
        je veux aller à {city.fr} {by.fr}.
        ich möchte {by.de} nach {city.de} fahren.
    MY {family} LIVES IN {city}
        {family.fr_my} habite à {city.fr}.
        {family.de_my} wohnt in {city.de}.
    CAN I HAVE {serving}
        puis-je avoir {serving.fr} ?
        kann ich {serving.de} haben?
    DO YOU SPEAK {language}
        parles-tu {language.fr} ?
        sprichst du {language.de}?
    I SPEAK {language} AND {language2}
        je parle {language.fr} et {language2.fr}.
        ich spreche {language.de} und {language2.de}.
    IT IS {weather} IN {city} TODAY
        {weather.fr} à {city.fr} aujourd'hui.
        heute ist es in {city.de} {weather.de}.
    WILL IT {rain} {coming}
        est-ce qu'il {rain.fr} {coming.fr} ?
        wird es {coming.de} {rain.de}?
    HELLO {person} HOW ARE YOU
        bonjour {person.fr}, comment vas-tu ?
        hallo {person.de}, wie geht es dir?
    GOOD MORNING {person}
        bonjour {person.fr}.
        guten Morgen, {person.de}.
    GOOD EVENING {person}
        bonsoir {person.fr}.
        guten Abend, {person.de}.
    THANK YOU VERY MUCH
        merci beaucoup.
        vielen Dank.
    YES PLEASE
        oui, s'il te plaît.
        ja, bitte.
    NO THANK YOU
        non merci.
        nein danke.
    I DO NOT UNDERSTAND THE QUESTION
        je ne comprends pas la question.
        ich verstehe die Frage nicht.
    HOW MUCH TIME IS LEFT
        combien de temps reste-t-il ?
        wie viel Zeit bleibt noch?
""")

_GROUPS = {TIMES: 0.26, DATES: 0.14, NUMBERS: 0.2, COMMANDS: 0.28, TALK: 0.12}
_PLEASE_SHARE = 0.12
_JOINED_SHARE = 0.08
_JOINED_MAX_WORDS = 11


def fill(template: Triple, rng: random.Random) -> Triple:
    """Fill every slot at random, with the same rows in all languages."""
    rows: dict[str, Row] = {}
    for name in _SLOT.findall(template.en):
        table = SLOTS[name.rstrip("2")]
        if name.endswith("2"):
            table = [row for row in table if row is not rows[name[:-1]]]
        rows[name] = rng.choice(table)
    return render(template, rows)


def render(template: Triple, rows: Mapping[str, Row]) -> Triple:
    """Put a row into every slot."""
    french, german = (getattr(template, language).format(**rows) for language in LANGUAGES)
    return Triple(template.en.format(**rows), _capitalised(french), _capitalised(german))


def _capitalised(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _uncapitalised(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def sample_triple(rng: random.Random) -> Triple:
    """Draw a sentence; some commands say please, and some are two in one."""
    (group,) = rng.choices(list(_GROUPS), list(_GROUPS.values()))
    triple = fill(rng.choice(group), rng)
    if group is not COMMANDS:
        return triple
    kind = rng.random()
    if kind < _PLEASE_SHARE:
        return Triple(
            f"PLEASE {triple}",
            f"S'il te plaît, {_uncapitalised(triple.fr)}",
            f"Bitte {_uncapitalised(triple.de)}",
        )
    second = fill(rng.choice(group), rng)
    if kind < _PLEASE_SHARE + _JOINED_SHARE:
        joined = f"{triple} AND {second}"
        comma = "," if "," in triple.de else ""  # which ends a clause
        if len(joined.split()) <= _JOINED_MAX_WORDS:
            return Triple(
                joined,
                f"{triple.fr[:-1]} et {_uncapitalised(second.fr)}",
                f"{triple.de[:-1]}{comma} und {_uncapitalised(second.de)}",
            )
    return triple


def training_triples(rng: random.Random) -> Iterator[Triple]:
    """Draw sentences to train on, without end; none is held out (see `demo_corpus.is_held_out`)."""
    while True:
        triple = sample_triple(rng)
        if not is_held_out(triple.en):
            yield triple


def held_out_triples(count: int, rng: random.Random) -> list[Triple]:
    """Draw different sentences that `training_triples` never yields."""
    chosen: dict[str, Triple] = {}
    while len(chosen) < count:
        triple = sample_triple(rng)
        if is_held_out(triple.en):
            chosen[triple.en] = triple
    return list(chosen.values())


def vocabulary() -> tuple[str, ...]:
    """List every English word of the domain, sorted."""
    texts = ["PLEASE", "AND", *(template.en for group in _GROUPS for template in group)]
    texts += [str(row) for table in SLOTS.values() for row in table]
    return tuple(sorted({word for text in texts for word in _BRACES.sub(" ", text).split()}))
