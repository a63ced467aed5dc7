"""The text domain of the embedded translator, against sentences written by hand."""

from __future__ import annotations

import itertools
import random
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import demo_corpus
import demo_translation_corpus as corpus
import demo_translation_words as words

TEMPLATES = (*corpus.TIMES, *corpus.DATES, *corpus.NUMBERS, *corpus.COMMANDS, *corpus.TALK)


def translate(english: str) -> tuple[str, str]:
    """French and German of a sentence, by the one template that can say it."""
    (found,) = {
        (triple.fr, triple.de)
        for template in TEMPLATES
        if (match := re.fullmatch(_pattern(template.en), english))
        and (triple := _filled(template, match))
    }
    return found


def _pattern(english: str) -> str:
    def choice(slot: re.Match[str]) -> str:
        rows = words.SLOTS[slot[1].rstrip("2")]
        said = "|".join(map(str, rows)) if len(rows) < 500 else ".+"
        return f"(?P<{slot[1]}>{said})"

    return re.sub(r"{(\w+)}", choice, english)


def _filled(template: words.Triple, match: re.Match[str]) -> words.Triple | None:
    tables = {
        name: {str(row): row for row in words.SLOTS[name.rstrip("2")]} for name in match.groupdict()
    }
    if any(said not in tables[name] for name, said in match.groupdict().items()):
        return None
    return corpus.render(template, {n: tables[n][said] for n, said in match.groupdict().items()})


@pytest.mark.parametrize(
    ("english", "french", "german"),
    [
        ("IT IS HALF PAST SEVEN", "Il est sept heures et demie.", "Es ist halb acht."),
        ("IT IS HALF PAST TWELVE", "Il est midi et demi.", "Es ist halb eins."),
        ("IT IS ONE O'CLOCK", "Il est une heure.", "Es ist ein Uhr."),
        ("IT IS QUARTER TO ONE", "Il est une heure moins le quart.", "Es ist Viertel vor eins."),
        ("IT IS MIDNIGHT", "Il est minuit.", "Es ist Mitternacht."),
        ("IT IS TWENTY PAST FIVE", "Il est cinq heures vingt.", "Es ist zwanzig nach fünf."),
        (
            "IT IS EIGHT O'CLOCK IN THE EVENING",
            "Il est huit heures du soir.",
            "Es ist acht Uhr abends.",
        ),
        (
            "THE TRAIN TO ROME LEAVES AT TEN TO ELEVEN",
            "Le train pour Rome part à onze heures moins dix.",
            "Der Zug nach Rom fährt um zehn vor elf ab.",
        ),
        (
            "THE NEXT BOAT ARRIVES AT SIX FORTY FIVE",
            "Le prochain bateau arrive à six heures quarante-cinq.",
            "Das nächste Schiff kommt um sechs Uhr fünfundvierzig an.",
        ),
        (
            "MY BIRTHDAY IS ON THE FIRST OF MARCH",
            "Mon anniversaire est le 1er mars.",
            "Mein Geburtstag ist am 1. März.",
        ),
        (
            "TODAY IS MONDAY THE TWENTY SECOND OF AUGUST",
            "Aujourd'hui, c'est le lundi 22 août.",
            "Heute ist Montag, der 22. August.",
        ),
        (
            "WE WILL TRAVEL TO GERMANY IN MAY",
            "Nous irons en Allemagne en mai.",
            "Wir reisen im Mai nach Deutschland.",
        ),
        ("IT COSTS NINETY NINE EUROS", "Cela coûte 99 euros.", "Das kostet 99 Euro."),
        (
            "IT COSTS TWO HUNDRED AND FIVE DOLLARS",
            "Cela coûte 205 dollars.",
            "Das kostet 205 Dollar.",
        ),
        ("THE CODE IS ZERO SEVEN ONE ONE", "Le code est 0711.", "Der Code ist 0711."),
        ("HOW MUCH IS TWO PLUS TWO", "Combien font 2 plus 2 ?", "Wie viel ist 2 plus 2?"),
        (
            "TURN ON THE COMPUTER IN THE KITCHEN",
            "Allume l'ordinateur dans la cuisine.",
            "Schalte den Computer in der Küche ein.",
        ),
        (
            "OPEN THE WINDOW IN THE OFFICE",
            "Ouvre la fenêtre du bureau.",
            "Öffne das Fenster im Büro.",
        ),
        (
            "CLOSE THE CURTAIN IN THE HALL",
            "Ferme le rideau de l'entrée.",
            "Schließ den Vorhang im Flur.",
        ),
        (
            "BRING ME THE WHITE HAT",
            "Apporte-moi le chapeau blanc.",
            "Bring mir den weißen Hut.",
        ),
        (
            "BRING ME THE WHITE BOTTLE",
            "Apporte-moi la bouteille blanche.",
            "Bring mir die weiße Flasche.",
        ),
        (
            "BRING ME A GLASS OF WATER",
            "Apporte-moi un verre d'eau.",
            "Bring mir ein Glas Wasser.",
        ),
        (
            "REMIND ME TO BUY EGGS TOMORROW MORNING",
            "Rappelle-moi d'acheter des œufs demain matin.",
            "Erinnere mich morgen früh daran, Eier zu kaufen.",
        ),
        (
            "TURN LEFT AT THE CHURCH",
            "Tourne à gauche à l'église.",
            "Bieg an der Kirche links ab.",
        ),
        (
            "IS THE DOOR IN THE GARAGE OPEN",
            "La porte du garage est-elle ouverte ?",
            "Ist die Tür in der Garage offen?",
        ),
        (
            "CALL MY FATHER ON FRIDAY",
            "Appelle mon père vendredi.",
            "Ruf meinen Vater am Freitag an.",
        ),
        (
            "I WANT TO GO TO LONDON BY BICYCLE",
            "Je veux aller à Londres à vélo.",
            "Ich möchte mit dem Fahrrad nach London fahren.",
        ),
        (
            "I CANNOT FIND MY PHONE",
            "Je ne trouve pas mon téléphone.",
            "Ich finde mein Telefon nicht.",
        ),
    ],
)
def test_sentence_has_the_translations_that_a_person_wrote(english, french, german):
    assert translate(english) == (french, german)


def test_a_colour_agrees_with_the_thing():
    (template,) = (t for t in corpus.TALK if "coloured" in t.en)
    rows = {str(row): row for row in words.SLOTS["coloured"]}

    key, hat = (corpus.render(template, {"coloured": rows[n]}) for n in ("GREEN KEY", "GREEN HAT"))

    assert key == words.Triple("THE KEY IS GREEN", "La clé est verte.", "Der Schlüssel ist grün.")
    assert hat == words.Triple("THE HAT IS GREEN", "Le chapeau est vert.", "Der Hut ist grün.")


def test_every_clock_time_names_the_hour_that_german_means():
    halves = {row.en: row.de for row in words.SLOTS["clock"] if row.en.startswith("HALF PAST")}

    hours = "eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf".split()
    assert halves == {
        f"HALF PAST {demo_corpus.spell_number(hour)}": f"halb {hours[hour % 12]}"
        for hour in range(1, 13)
    }


def test_a_polite_command_and_two_in_one_are_still_one_sentence():
    triples = {t.en: t for t in itertools.islice(corpus.training_triples(random.Random(5)), 3000)}
    polite = [triple for triple in triples.values() if triple.en.startswith("PLEASE ")]
    double = [
        t for t in triples.values() if re.search("(STOP|CALL|OPEN|TURN) .* AND [A-Z]+ THE", t.en)
    ]

    assert polite
    assert double
    assert all(re.match("S'il te plaît, [a-zé]", triple.fr) for triple in polite)
    assert all(re.match("Bitte [a-zö]", triple.de) for triple in polite)
    for triple in (*polite, *double):
        assert triple.fr.count(".") == triple.de.count(".") == 1
        assert triple.fr.endswith(".")
        assert triple.de.endswith(".")


def test_held_out_sentences_are_trained_on_in_no_language():
    held_out = corpus.held_out_triples(60, random.Random(3))
    trained = list(itertools.islice(corpus.training_triples(random.Random(3)), 4000))

    for language in ("en", *corpus.LANGUAGES):
        texts = {getattr(triple, language) for triple in trained}
        assert not texts & {getattr(triple, language) for triple in held_out}


def test_what_is_held_out_is_held_out_from_all_demo_models():
    held_out = corpus.held_out_triples(60, random.Random(4))

    assert len({triple.en for triple in held_out}) == 60
    assert all(demo_corpus.is_held_out(triple.en) for triple in held_out)


def test_no_two_sentences_share_a_translation():
    triples = {t.en: t for t in itertools.islice(corpus.training_triples(random.Random(6)), 4000)}

    for language in corpus.LANGUAGES:
        assert len({getattr(triple, language) for triple in triples.values()}) == len(triples)


def test_vocabulary_is_what_is_spoken():
    triples = itertools.islice(corpus.training_triples(random.Random(7)), 9000)

    spoken = {word for triple in triples for word in triple.en.split()}

    assert spoken <= set(corpus.vocabulary())
    assert len(spoken) >= 0.97 * len(corpus.vocabulary())
