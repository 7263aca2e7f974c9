"""The table of languages: which there are, and what makes the code of each."""

from collections.abc import Callable
from difflib import get_close_matches

from backfleet.samples import _aliyun, _curl, _go, _java, _our_command, _python, _typescript
from backfleet.samples._call import BadCall, SampleCall
from backfleet.values import value_object


@value_object
class Language:
    """One language of samples."""

    name: str  # as on the command line
    title: str
    markup: str  # of blocks of code in Markdown
    ending: str  # of its files
    write: Callable[[SampleCall], str]


@value_object
class Sample:
    """The code of a call in one language."""

    language: Language
    code: str
    file_name: str


LANGUAGES = {
    language.name: language
    for language in (
        Language("python", "Python", "python", "py", _python.write),
        Language("python-generic", "Python, generic client", "python", "py", _python.write_generic),
        Language("typescript", "TypeScript", "typescript", "ts", _typescript.write),
        Language("go", "Go", "go", "go", _go.write),
        Language("java", "Java", "java", "java", _java.write),
        Language("aliyun", "aliyun CLI", "bash", "sh", _aliyun.write),
        Language("backfleet", "backfleet CLI", "bash", "sh", _our_command.write),
        Language("curl", "curl", "bash", "sh", _curl.write),
    )
}


def make_sample(call: SampleCall, language: str) -> Sample:
    """Return the code of a call.

    Raises:
        BadCall: there is no such language, or its client cannot make this call.
    """
    found = LANGUAGES.get(language.lower())
    if found is None:
        close = get_close_matches(language.lower(), LANGUAGES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(LANGUAGES)}"
        raise BadCall(f"there are no samples in {language!r}; {hint}")
    return Sample(found, found.write(call), f"{call.operation.name}.{found.ending}")
