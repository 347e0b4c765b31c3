"""The conditions of a release that ask the Hub, or look at the files as they would be published."""

from huggingface_hub.errors import RepositoryNotFoundError

from publish.conditions import Candidate, NotYetError, few
from publish.contents import Repo, kinds, staged
from publish.guard import README, refuse_faulty_cards, refuse_other_base, refuse_unfit_files
from publish.localhub.card_check import check_card
from publish.plan import TakenError, plan_repository, refs
from publish.release import preflight, refuse_unreleasable
from recipe.errors import UserError


def may_publish(wanted: Candidate) -> str:
    """Hold that the Hub knows who publishes, and lets them write."""
    try:
        refuse_unreleasable(wanted.run.recipe, with_data=wanted.with_data)
    except UserError:
        raise NotYetError("not before the recipe can be released") from None
    return f"as {preflight(wanted.run.recipe, with_data=wanted.with_data, hub=wanted.hub)}"


def version_free(wanted: Candidate) -> str:
    """Hold that no repository has the tag, or with these very files; before these are written, that can't be told."""
    there = [repo.repo_id for repo in _named(wanted) if wanted.version in _tags(wanted, repo)]
    if there:
        raise NotYetError(f"{few(there)} has {wanted.version}; its files are compared when the rest holds")
    return f"no repository has {wanted.version}"


def version_same(wanted: Candidate) -> str:
    """Hold that no repository has the tag on other content, or holds what is of another base."""
    there, wrong = [], []
    for repo in wanted.repos:
        try:
            plan = plan_repository(wanted.hub, repo, wanted.version)
            refuse_other_base(wanted.hub, plan)
        except TakenError as error:
            wrong.append(str(error))
        else:
            there += [repo.repo_id] if plan.tagged else []
    if wrong:
        raise UserError("; ".join(wrong))
    return (
        f"{few(there)} has {wanted.version}, with these very files"
        if there
        else f"no repository has {wanted.version}"
    )


def cards_valid(wanted: Candidate) -> str:
    """Hold that every card's metadata are as the Hub wants them, by its rules that we know, and by its own word."""
    cards = [repo for repo in wanted.repos if README in repo.files]
    errors = [
        f"{repo.repo_id}: {error}"
        for repo in cards
        for error in check_card(repo.files[README].read_text(encoding="utf-8")).errors
    ]
    if errors:
        raise UserError(few(errors, "; "))
    refuse_faulty_cards(wanted.hub, cards)
    return f"{len(cards)} of them, as the Hub wants them"


def fit(wanted: Candidate) -> str:
    """Hold that no file is a pickle, the trainer's own, unreadable, or names a path of this machine."""
    refuse_unfit_files(wanted.run, with_data=wanted.with_data)
    return f"{sum(len(repo.files) for repo in wanted.repos)} files, {sum(r.size for r in wanted.repos) / 1e6:,.2f} MB"


def inspected(wanted: Candidate) -> str:
    """Hold that every repository, as it would be published, passes what `notus verify` looks at in a download."""
    from publish.inspect import inspect_folder
    from publish.signing import NAME, PUBLIC_KEY

    wrong, held = [], 0
    public = wanted.run.path(NAME, PUBLIC_KEY)
    key = public if wanted.run.done(NAME) and public.is_file() else None
    for repo in wanted.repos:
        with staged(wanted.run, repo.files) as folder:
            checks = inspect_folder(
                folder, repo_id=repo.repo_id, revision=wanted.version, public_key=key, repo_type=repo.type
            )
        held += sum(check.ok is True for check in checks)
        wrong += [
            f"{repo.repo_id}: {f'{check.file}: ' if check.file else ''}{check.said}"
            for check in checks
            if check.ok is False
        ]
    if wrong:
        raise UserError(few(wrong, "; "))
    return f"{held} checks of {few([repo.repo_id for repo in wanted.repos])}"


def _named(wanted: Candidate) -> list[Repo]:
    """Return the repositories by name, without files, as the recipe has them: the run may not be complete."""
    named = kinds(wanted.run.recipe, with_data=wanted.with_data)
    return [Repo(kind, name, {}, {}) for kind, name in named.items()]


def _tags(wanted: Candidate, repo: Repo) -> set[str]:
    """Return the names of a repository's tags; none if it is not there yet."""
    try:
        return set(refs(wanted.hub, repo)[1])
    except UserError as error:
        if isinstance(error.__cause__, RepositoryNotFoundError):
            return set()
        raise
