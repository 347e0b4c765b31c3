"""Who answers in the embedded sample, in which style, and what an annotator makes of it."""

from dataclasses import dataclass

MODELS = (
    "alpaca-7b",
    "bard",
    "falcon-40b-instruct",
    "gpt-3.5-turbo",
    "gpt-4",
    "llama-2-13b-chat",
    "llama-2-70b-chat",
    "llama-2-7b-chat",
    "mpt-30b-chat",
    "pythia-12b",
    "starchat",
    "ultralm-13b",
    "ultralm-65b",
    "vicuna-33b",
    "wizardlm-13b",
    "wizardlm-70b",
    "wizardlm-7b",
)
ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")
PRINCIPLES = {
    "helpfulness": "Be useful to the user and give them what they need.",
    "honesty": "Say plainly what you know and what you do not.",
    "truthfulness": "State only what is true.",
    "verbalized_calibration": "Say how sure you are of your answer.",
}


@dataclass(frozen=True)
class Style:
    """A way of answering, and what an annotator makes of it.

    Attributes:
        texts: Templates over the fields of a `Task`, and `{Answer}`, `{Wrong}` with a capital.
        ratings: By aspect, in the order of `ASPECTS`, before noise.
        weight: How often the style is drawn, relative to the others.
        critique: What the annotator says of it.
    """

    texts: tuple[str, ...]
    ratings: tuple[int, int, int, int]
    weight: int
    critique: str


STYLES = {
    "full": Style(
        (
            "{sentence} {reason}",
            "{sentence} {reason} I hope this helps!",
            "Of course! {sentence} {reason}",
            "Happy to help. {sentence} {reason}",
        ),
        (5, 5, 5, 5),
        9,
        "The answer is correct, complete and friendly, and it gives a reason.",
    ),
    "plain": Style(
        ("{sentence}", "{sentence}", "Answer: {sentence}"),
        (4, 4, 5, 3),
        6,
        "The answer is correct. A short reason would make it more useful.",
    ),
    "curt": Style(
        ("{answer}", "{Answer}.", "{Answer}, obviously."),
        (3, 3, 4, 2),
        6,
        "This is too curt: the user gets a bare answer and no help in understanding it.",
    ),
    "wrong": Style(
        ("Trust me: {wrong}.", "{Wrong}, no doubt about it.", "Everybody knows this: {wrong}."),
        (2, 1, 1, 2),
        4,
        "The answer is wrong, and it is stated with a confidence that misleads the user.",
    ),
    "evasive": Style(
        (
            "That is hard to say, it depends on many things.",
            "I am not sure. Maybe you should ask somebody else.",
            "There may be an answer to this, but I would rather not say.",
        ),
        (1, 3, 3, 1),
        4,
        "The response evades the question and leaves the user with nothing.",
    ),
    "rambling": Style(
        (
            "Well, you know, there is this and there is that, and then again this, so who can tell?",
            "Hmm, let me think, and think again, and then one thing leads to another, and so on and on.",
        ),
        (2, 2, 3, 2),
        4,
        "The response rambles without coming to the point. It fails to answer the question clearly.",
    ),
    "off_topic": Style(
        (
            "I like trains. Trains are long and some of them are red.",
            "Did you know that my favorite soup is tomato soup?",
            "The weather was nice yesterday, so we all went to the beach.",
        ),
        (1, 2, 2, 1),
        4,
        "The response is off topic and ignores the instruction completely.",
    ),
    "rude": Style(
        ("What a silly question. Look it up yourself.", "Why do you bother me with this? Go away."),
        (1, 2, 1, 1),
        3,
        "The response is rude and useless. It refuses a harmless request for no reason.",
    ),
}
BAD_STYLES = ("wrong", "off_topic", "rude")  # bad on every aspect: where the fault of 2023 strikes

# By aspect: the types and the rationale of a right completion, then of another one.
TYPES = {
    "truthfulness": ((("None",), "Free of errors."), (("1",), "A statement in it is wrong or unfounded.")),
    "helpfulness": ((("1", "2"), "Clear and to the point."), (("None",), "It does not inform the user.")),
}
RATIONALES = {
    "5": "Nothing to improve here.",
    "4": "Good, with small room to improve.",
    "3": "Acceptable, but clearly incomplete.",
    "2": "Poor: most of what was asked is missing.",
    "1": "Very poor.",
    "N/A": "The aspect does not apply to this response.",
}
