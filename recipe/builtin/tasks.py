"""The instructions of the embedded sample: a dozen kinds of small tasks with a right and a wrong answer.

Every kind is a function from a seeded generator to a `Task`. The tasks are small enough to be right by
construction: nothing here was written, or has to be checked, by a language model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from recipe.builtin.words import CAPITALS, DAYS, GIFTS, OPPOSITES, PEOPLE, PLURALS, UNITS, WHY, WORDS


@dataclass(frozen=True)
class Task:
    """One instruction and what its answers are made of.

    Attributes:
        kind: The kind of task, which becomes the row's `source`.
        instruction: What the user asks; one line of English.
        answer: The bare right answer, without a full stop.
        sentence: The right answer as a whole sentence.
        reason: One more sentence, saying why or how.
        wrong: A bare answer that is wrong.
        checkable: Whether `answer` is the only right one (arithmetic, say; a thank-you note is not).
    """

    kind: str
    instruction: str
    answer: str
    sentence: str
    reason: str
    wrong: str
    checkable: bool = True


def arithmetic(rng: Random) -> Task:
    """Add, subtract or multiply two numbers."""
    sign = rng.choice("+-*")
    a, b = (
        (rng.randint(3, 12), rng.randint(3, 9)) if sign == "*" else (rng.randint(30, 99), rng.randint(5, 29))
    )
    result, sign_of_check = {"+": (a + b, "-"), "-": (a - b, "+"), "*": (a * b, "/")}[sign]
    instruction = rng.choice(("What is {}?", "Please compute {}.", "Work out {} for me.")).format(
        f"{a} {sign} {b}"
    )
    return Task(
        "arithmetic",
        instruction,
        str(result),
        f"{a} {sign} {b} equals {result}.",
        f"You can check it backwards: {result} {sign_of_check} {b} is {a}.",
        str(result + rng.choice((-10, -2, -1, 1, 3, 10))),
    )


def compare(rng: Random) -> Task:
    """Find the larger of two numbers."""
    low, high = sorted(rng.sample(range(11, 99), 2))
    a, b = rng.sample((low, high), 2)
    return Task(
        "compare",
        rng.choice(("Which number is larger, {} or {}?", "Tell me the larger one: {} or {}.")).format(a, b),
        str(high),
        f"{high} is larger than {low}.",
        f"The difference between them is {high - low}.",
        str(low),
    )


def sort_words(rng: Random) -> Task:
    """Sort three words that begin with different letters."""
    while True:
        words = rng.sample(WORDS, 3)
        right = sorted(words)
        if len({word[0] for word in words}) == 3 and words != right:
            break
    return Task(
        "sort_words",
        rng.choice(("Sort these words: {}.", "Put {} in alphabetical order.")).format(", ".join(words)),
        ", ".join(right),
        f"In alphabetical order they are {', '.join(right)}.",
        f"Their first letters are {right[0][0]}, {right[1][0]} and {right[2][0]}.",
        ", ".join(reversed(right)),
    )


def capital(rng: Random) -> Task:
    """Name the capital of a country."""
    country = rng.choice(list(CAPITALS))
    right, wrong = CAPITALS[country], rng.choice([city for land, city in CAPITALS.items() if land != country])
    return Task(
        "capital",
        rng.choice(("What is the capital of {}?", "Name the capital city of {}.")).format(country),
        right,
        f"The capital of {country} is {right}.",
        f"The government of {country} has its seat there.",
        wrong,
    )


def opposite(rng: Random) -> Task:
    """Give the opposite of an adjective."""
    pair = rng.choice(OPPOSITES)
    wrong = rng.choice([other[0] for other in OPPOSITES if other[0] not in pair and other[1] not in pair])
    word, right = pair
    return Task(
        "opposite",
        rng.choice(("What is the opposite of {}?", "Give me a word that means the reverse of {}.")).format(
            word
        ),
        right,
        f"The opposite of {word} is {right}.",
        "The two words are the two ends of one scale.",
        wrong,
    )


def plural(rng: Random) -> Task:
    """Give the plural of a noun."""
    nouns, rule = rng.choice(PLURALS)
    word, right = rng.choice(nouns)
    return Task(
        "plural",
        rng.choice(("What is the plural of {}?", "Write {} in the plural.")).format(word),
        right,
        f"The plural of {word} is {right}.",
        rule,
        f"{right}es",
    )


def letters(rng: Random) -> Task:
    """Count the letters of a word."""
    word = rng.choice(WORDS)
    return Task(
        "letters",
        rng.choice(("How many letters has the word {}?", "Count the letters in {}.")).format(word),
        str(len(word)),
        f"The word {word} has {len(word)} letters.",
        f"Spelled out it is {'-'.join(word)}.",
        str(len(word) + rng.choice((-2, -1, 1, 2))),
    )


def units(rng: Random) -> Task:
    """Convert a number of units into smaller ones."""
    unit, parts, size = rng.choice(UNITS)
    count = rng.randint(2, 9)
    many = unit if unit == "dozen" else f"{unit}s"
    return Task(
        "units",
        rng.choice(("How many {1} are in {0}?", "Convert {0} into {1}.")).format(f"{count} {many}", parts),
        str(count * size),
        f"{count} {many} are {count * size} {parts}.",
        f"One {unit} is {size} {parts}, and {count} times {size} is {count * size}.",
        str(count * size + rng.choice((-size, size, 10, 5))),
    )


def weekday(rng: Random) -> Task:
    """Find the day so many days after another."""
    start, ahead = rng.randrange(7), rng.randint(2, 4)
    path = [DAYS[(start + step) % 7] for step in range(ahead + 1)]
    return Task(
        "weekday",
        rng.choice(("Which day is {1} days after {0}?", "Today is {0}. What day is it in {1} days?")).format(
            path[0], ahead
        ),
        path[-1],
        f"{ahead} days after {path[0]} it is {path[-1]}.",
        f"Counting on we pass {' and '.join(path[1:-1])}.",
        rng.choice([day for day in DAYS if day != path[-1]]),
    )


def thank(rng: Random) -> Task:
    """Write a short note of thanks."""
    person, gift = rng.choice(PEOPLE), rng.choice(GIFTS)
    return Task(
        "thank",
        rng.choice(("Write a short note to thank {} for {}.", "Help me thank {} for {}.")).format(
            person, gift
        ),
        f"Thanks for {gift}",
        f"You could write: Thank you very much for {gift}.",
        "It was kind of you and it made my day.",
        f"Send me {gift}",
        checkable=False,
    )


def why(rng: Random) -> Task:
    """Explain an everyday thing in a sentence."""
    subject, because, more, wrong = rng.choice(WHY)
    return Task(
        "why",
        rng.choice(("Explain briefly why {}.", "Why is it that {}?", "Tell a child why {}.")).format(subject),
        because,
        f"It happens because {because}.",
        f"{more}.",
        wrong,
        checkable=False,
    )


KINDS: tuple[Callable[[Random], Task], ...] = (
    arithmetic,
    compare,
    sort_words,
    capital,
    opposite,
    plural,
    letters,
    units,
    weekday,
    thank,
    why,
)


def draw_tasks(count: int, rng: Random) -> list[Task]:
    """Draw `count` tasks with different instructions, every kind as often as the others, in random order.

    A kind with few instructions (the plurals) runs dry and leaves its turns to the others; arithmetic does
    not run dry before some thousands.
    """
    tasks: dict[str, Task] = {}
    kinds = list(KINDS)
    while len(tasks) < count:
        for kind in tuple(kinds):
            for _ in range(20):
                task = kind(rng)
                if task.instruction not in tasks:
                    tasks[task.instruction] = task
                    break
            else:
                kinds.remove(kind)
                if not kinds:
                    raise ValueError(f"only {len(tasks)} different instructions, {count} wanted")
    drawn = list(tasks.values())[:count]
    rng.shuffle(drawn)
    return drawn
