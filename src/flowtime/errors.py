"""Every error that flowtime reports, and the one table of their codes.

    FlowtimeError
    ├── InvalidInput     what was given is wrong            exit 2
    ├── NotFound         what was named does not exist      exit 3
    ├── Conflict         it exists with other content, or needs a confirmation   exit 4
    ├── Denied           not allowed                        exit 5
    ├── Unavailable      the disk, a server or a program does not answer         exit 6
    └── InternalError    a defect of flowtime               exit 1

An error says where, what (with the offending value), what is allowed and what to do next. A document
with several problems raises one error whose `errors` hold all of them, sorted by position.

What it names by a mark of `wording` is in the words of Python here; the other faces take `worded`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal, Self

from flowtime.wording import PYTHON, Face, say

Kind = Literal["invalid", "not_found", "conflict", "denied", "unavailable", "internal"]

EXIT_CODES: dict[Kind, int] = {
    "internal": 1,
    "invalid": 2,
    "not_found": 3,
    "conflict": 4,
    "denied": 5,
    "unavailable": 6,
}
EXIT_MISMATCH = 10
"""Exit code of a failed verification, or of a comparison over its threshold."""


@dataclass(frozen=True, slots=True)
class Code:
    """A declared error or warning code: its kind (None for warnings), a title and an explanation."""

    kind: Kind | None
    title: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem in a document, a formula, a data file or a run.

    `line` and `column` are 1-based; `position` is 0-based inside a formula; None means not applicable.
    `excerpt` is the offending line with a caret under it. Half of a surrogate pair, which JSON and file names
    can spell and no face can write, is spelled out in the texts.
    """

    code: str
    message: str
    severity: Literal["error", "warning"] = "error"
    source: str | None = None
    line: int | None = None
    column: int | None = None
    position: int | None = None
    node: str | None = None
    excerpt: str | None = None
    hint: str | None = None

    def __post_init__(self) -> None:
        """Spells out what cannot be written."""
        for name in ("message", "source", "node", "excerpt", "hint"):
            text = getattr(self, name)
            if text is not None and not text.isascii():
                object.__setattr__(self, name, _writable(text))

    @property
    def where(self) -> str:
        """The position as `file:line:column`, as far as it is known."""
        parts = [self.source or ""] + [str(n) for n in (self.line, self.column) if n is not None]
        return ":".join(parts).strip(":")

    def __str__(self) -> str:
        guess = self.hint is not None and self.hint.startswith(GUESS)
        message = f"{self.message}; {self.hint}" if guess else self.message
        if self.position is not None:
            message += f" (position {self.position})"
        lines = ["  ".join(part for part in (self.where, self.code, message) if part)]
        if self.excerpt:
            lines += ["    " + line for line in self.excerpt.splitlines()]
        if self.hint and not guess:
            lines.append(f"    {self.hint}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        """The diagnostic as JSON, without the fields that do not apply."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def revised(self, change: Callable[[str], str]) -> Diagnostic:
        """The same problem with `change` made to its texts, but for the excerpt and the node."""
        return replace(
            self,
            message=change(self.message),
            source=self.source and change(self.source),
            hint=self.hint and change(self.hint),
        )


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts of an error."""

    message: str
    where: str | None
    hint: str | None
    errors: tuple[Diagnostic, ...]

    def revised(self, change: Callable[[str], str]) -> _Texts:
        return _Texts(
            change(self.message),
            self.where and change(self.where),
            change(self.hint or "") or None,
            tuple(error.revised(change) for error in self.errors),
        )


class FlowtimeError(Exception):
    """What went wrong, where, and what to do next. Raised only through its subclasses."""

    kind: ClassVar[Kind] = "internal"

    def __init__(
        self,
        code: str,
        message: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        errors: Iterable[Diagnostic] = (),
        count: int | None = None,
    ) -> None:
        """`count` is the true number of problems where `errors` holds only the first of them."""
        if CODES[code].kind != self.kind:
            raise AssertionError(f"{code} is declared as {CODES[code].kind}, raised as {self.kind}")
        self.code = code
        self._marked = _Texts(
            _writable(message), where and _writable(where), hint and _writable(hint), tuple(errors)
        )
        shown = self._marked.revised(lambda text: say(text, PYTHON))
        self.message, self.where, self.hint, self.errors = (
            shown.message,
            shown.where,
            shown.hint,
            shown.errors,
        )
        self.count = len(self.errors) if count is None else count
        super().__init__(self.message)

    @property
    def exit_code(self) -> int:
        """The exit code of a command that ends with this error."""
        return EXIT_CODES[self.kind]

    def __str__(self) -> str:
        head = "  ".join(part for part in (self.where, self.code, self.message) if part)
        lines = [head, *(str(error) for error in self.errors)]
        if self.errors and self.count > len(self.errors):
            lines.append(f"... and {self.count - len(self.errors)} more")
        if self.hint:
            lines.append(self.hint)
        return "\n".join(lines)

    def revised(self, change: Callable[[str], str]) -> Self:
        """The same error with `change` made to its texts, marks and all."""
        texts = self._marked.revised(change)
        found = type(self)(
            self.code,
            texts.message,
            where=texts.where,
            hint=texts.hint,
            errors=texts.errors,
            count=self.count,
        )
        return found.with_traceback(self.__traceback__)

    def hinted(self, change: Callable[[str | None], str | None]) -> Self:
        """The same error with another hint, which `change` makes of its own, marks and all."""
        texts = self._marked
        found = type(self)(
            self.code,
            texts.message,
            where=texts.where,
            hint=change(texts.hint),
            errors=texts.errors,
            count=self.count,
        )
        return found.with_traceback(self.__traceback__)

    def worded(self, face: Face) -> Self:
        """The same error in the words of a face."""
        return self.revised(lambda text: say(text, face))

    def to_json(self, *, marked: bool = False) -> dict[str, Any]:
        """The error as the object under `error` in every face's JSON; `marked`: for a face to put it in words
        later.
        """
        texts = self._marked if marked else self
        return {
            "kind": self.kind,
            "code": self.code,
            "message": texts.message,
            "where": texts.where,
            "hint": texts.hint,
            "errors": [error.to_json() for error in texts.errors],
            "count": self.count,
        }


class InvalidInput(FlowtimeError):
    """What was given is wrong: a document, a formula, a data file, an option."""

    kind = "invalid"


class NotFound(FlowtimeError):
    """What was named does not exist."""

    kind = "not_found"


class Conflict(FlowtimeError):
    """It exists already with other content, was changed meanwhile, or needs a confirmation."""

    kind = "conflict"


class Denied(FlowtimeError):
    """The caller may not do this."""

    kind = "denied"


class Unavailable(FlowtimeError):
    """A disk, a server or a program that is needed does not answer."""

    kind = "unavailable"


class InternalError(FlowtimeError):
    """A defect of flowtime itself."""

    kind = "internal"


def _writable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


GUESS = "did you mean"
_LONGEST = 200
"""Letters of a name that is still a name mistyped; comparing takes the square of their number."""


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint naming the known name nearest to `name`, or None where nothing is near."""
    if len(name) > _LONGEST:
        return None
    by_folded = {candidate.casefold(): candidate for candidate in known}
    match = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return f'{GUESS} "{by_folded[match[0]]}"?' if match else None


CODES: dict[str, Code] = {
    # FT1xx: text documents and settings
    "FT101": Code("invalid", "not YAML", "The document is not well-formed YAML 1.2 (or JSON)."),
    "FT102": Code(
        "invalid",
        "duplicate key",
        "A mapping names the same key twice; one of the values would silently win.",
    ),
    "FT103": Code(
        "invalid",
        "document too large",
        "A document may have 64 MiB, 1,000,000 keys and values besides long lists of numbers, and aliases "
        "that expand to 100,000 values.",
    ),
    "FT104": Code("invalid", "not UTF-8", "A document must be UTF-8 text."),
    "FT105": Code("not_found", "file not found", "The named file does not exist or is not a regular file."),
    "FT106": Code("invalid", "unreadable settings", "The settings file is not valid."),
    "FT107": Code("invalid", "not a file", "A folder or device was named where a file is needed."),
    "FT108": Code("unavailable", "file not readable", "The file exists but could not be read."),
    # FT2xx: the meaning of a model
    "FT200": Code(
        "invalid",
        "invalid model",
        "The model has the problems listed under it; all of them are reported at once, up to a thousand.",
    ),
    "FT201": Code("invalid", "unknown series", "A name in a formula or a list is no node of the model."),
    "FT202": Code("invalid", "unknown key", "A key that the model language does not have."),
    "FT203": Code("invalid", "missing key", "A key that must be there is absent."),
    "FT204": Code("invalid", "wrong type", "A value has another type than the key takes."),
    "FT205": Code("invalid", "out of range", "A value lies outside what the key allows."),
    "FT206": Code("invalid", "bad id", "An id must match [A-Za-z_][A-Za-z0-9_]* and be no function name."),
    "FT207": Code("invalid", "duplicate id", "Two nodes, entries or measures have the same name."),
    "FT208": Code("invalid", "wrong length", "A list has another length than the grid or its partner."),
    "FT209": Code("invalid", "bad probabilities", "Probabilities must be >= 0 and sum to 1 within 1e-4."),
    "FT210": Code("invalid", "formula syntax", "The formula does not follow the grammar."),
    "FT211": Code("invalid", "unknown function", "The formula calls a function that does not exist."),
    "FT212": Code("invalid", "bad arguments", "A function got the wrong number or kind of arguments."),
    "FT213": Code(
        "invalid",
        "cycle without a delay",
        "Nodes depend on each other within the same bin. SHIFT(x, 1), or a CONV kernel that starts with 0, "
        "breaks the cycle.",
    ),
    "FT214": Code(
        "invalid", "seed needed", "A sampled node needs a seed, from the document or from whoever runs it."
    ),
    "FT215": Code("invalid", "bad csv source", "A `values: {csv: ...}` source cannot be used."),
    "FT216": Code(
        "invalid",
        "bad component or measure",
        "Names have 1-200 characters, no control characters, and do not begin with = + - @.",
    ),
    "FT217": Code("invalid", "unsupported version", "The schemaVersion is not one that this flowtime reads."),
    "FT218": Code("invalid", "formula too deep", "Formulas may nest 100 levels and have 100,000 characters."),
    "FT219": Code(
        "invalid",
        "wait in a loop",
        "The waits of a queue are known only after the run, so a loop cannot read them; its depth it can.",
    ),
    "FT220": Code(
        "invalid",
        "version 2 of the language",
        "The document says schemaVersion: 1 and uses something that only version 2 of the language has.",
    ),
    "FT221": Code(
        "invalid", "bad parameter value", "A run sets a parameter to a value that it does not take."
    ),
    "FT222": Code(
        "invalid", "bad metric", "A metric that a run asks for is not one that its model can have."
    ),
    "FT251": Code(None, "default grid", "The model has no grid; 24 bins of 1 hour were taken."),
    "FT252": Code(None, "older spelling", "An older spelling was read as its newer form."),
    "FT253": Code(
        None, "read as version 2", "The document uses version 2 of the language and does not say so."
    ),
    # FT3xx: evaluation
    "FT301": Code(None, "division_by_zero", "A division by zero gave 0: nothing flowed."),
    "FT302": Code(
        None, "non_finite", "A result was not finite (overflow, LOG(0), SQRT(-1)); it became missing."
    ),
    "FT303": Code("invalid", "bad input series", "A series bound to an input node does not fit it."),
    "FT304": Code(
        "invalid",
        "nothing to sample",
        "No recorded series depends on a distribution, so all samples are the same.",
    ),
    "FT305": Code("invalid", "number of samples", "A run takes 1 to 10,000,000 samples."),
    "FT306": Code(
        "invalid",
        "samples do not fit",
        "Samples lie in memory, many of them on the disk, their statistics in memory; there is no room.",
    ),
    "FT308": Code(
        None, "missing_samples", "Statistics leave out samples that are missing; the bin has others."
    ),
    "FT309": Code(
        "invalid", "too many values", "An evaluation holds at most 100,000,000 values: nodes times bins."
    ),
    "FT310": Code(None, "negative_flow", "Arrivals or capacity of a queue were negative and counted as 0."),
    "FT311": Code(
        None, "share_out_of_range", "A share of those waiting was not between 0 and 1, and was cut."
    ),
    "FT312": Code("invalid", "service_time", "The service time of a queue was 0 or less in some bins."),
    "FT313": Code(None, "draws_moved", "Draws from the spread of a parameter were moved into its bounds."),
    # FT4xx: data files
    "FT401": Code(
        "invalid", "unknown format", "The formats are gold (csv), ndjson, parquet, bundle and xlsx."
    ),
    "FT402": Code(
        "invalid",
        "unreadable data file",
        "The file is empty, cut off, damaged, not UTF-8 text, or of a kind that import does not read.",
    ),
    "FT403": Code(
        "invalid",
        "wrong columns",
        "A table has the columns time_bin, component_id, measure and value, each once, in any order.",
    ),
    "FT404": Code("invalid", "bad rows", "The rows listed under it break a rule; nothing was stored."),
    "FT405": Code(
        "invalid",
        "unknown grid",
        "Without metadata the grid is inferred from the times, where they tell it; else it must be given.",
    ),
    "FT406": Code(
        "invalid", "off the grid", "A time lies outside the grid, or between the starts of two bins."
    ),
    "FT407": Code(
        "invalid", "missing rows", "A series has no row for some bins; a row without a value is fine."
    ),
    "FT408": Code("invalid", "duplicate rows", "Two rows have the same component, measure and time."),
    "FT409": Code(
        "invalid", "table too large", "The table goes beyond what one grid or this computer can hold."
    ),
    "FT410": Code(
        "invalid",
        "changed after export",
        "The data or its metadata is not what flowtime wrote: a byte was changed, lost or added.",
    ),
    "FT411": Code("invalid", "unreadable metadata", "The metadata of a data file cannot be used."),
    "FT412": Code(
        "invalid", "not strict", "Strict import infers nothing, fills nothing and converts nothing."
    ),
    "FT413": Code("invalid", "not a place for a file", "The path cannot be a regular file."),
    "FT414": Code(
        "denied", "no permission", "The operating system does not allow to read or write the file."
    ),
    "FT415": Code("unavailable", "storage failed", "The disk is full, read-only or broken."),
    "FT416": Code(
        "invalid",
        "not a bundle",
        "The zip is none that flowtime wrote: it has entries that no bundle has, or lacks some.",
    ),
    "FT417": Code(
        "invalid",
        "bad time format or zone",
        "Times are read with a format of directives such as %Y-%m-%d %H:%M, and a zone such as "
        "Europe/Berlin or +01:00.",
    ),
    "FT418": Code(
        "invalid", "option does not fit", "An option says something that this format or file does not have."
    ),
    "FT419": Code(
        "invalid",
        "beyond a spreadsheet",
        "A sheet of Excel has at most 1,048,576 rows and 16,384 columns; other formats have no such limit.",
    ),
    # FT5xx: the registry
    "FT501": Code(
        "not_found", "unknown artifact", "No artifact has this id or name, or an id that begins so."
    ),
    "FT502": Code(
        "invalid",
        "bad artifact id",
        "Ids have 1-100 characters out of letters, digits and . _ - (older ones also :), and begin with a "
        "letter or digit.",
    ),
    "FT503": Code(
        "invalid",
        "ambiguous reference",
        "Several models have the name that was given, or several ids begin with it.",
    ),
    "FT504": Code(
        "invalid", "bad query", "A filter, an order or a page number that the registry does not have."
    ),
    "FT505": Code(
        "conflict",
        "others depend on it",
        "Other artifacts were made from this one; deleting it has to be forced.",
    ),
    "FT506": Code("conflict", "already exists", "An artifact with this id is there already."),
    "FT507": Code("invalid", "wrong kind of artifact", "The reference names an artifact of another kind."),
    "FT508": Code(
        "invalid", "bad catalog value", "A name, tag, visibility or other catalog value is not allowed."
    ),
    "FT509": Code("not_found", "no such file", "The artifact has no file of this name."),
    "FT510": Code(
        "unavailable",
        "damaged catalog",
        "The artifact's catalog.json cannot be read; its other files may be whole.",
    ),
    "FT511": Code(
        "unavailable",
        "registry of another format",
        "flowtime.json at the root is not one that this flowtime reads.",
    ),
    "FT512": Code(
        "unavailable", "index unavailable", "The index in the cache folder cannot be used; it can be deleted."
    ),
    "FT513": Code(
        "not_found",
        "no registry",
        "At the address of the registry there is none; nothing was published there.",
    ),
    # FT6xx: storage
    "FT601": Code("not_found", "no such key", "The store holds nothing under this key."),
    "FT602": Code("invalid", "unsupported store", "The address names no kind of store that can be opened."),
    "FT603": Code("invalid", "bad key", "A key must be relative, without .. and control characters."),
    "FT604": Code("unavailable", "storage full", "The disk or quota under the registry is used up."),
    "FT605": Code("unavailable", "storage not writable", "The store refuses access or is read-only."),
    "FT606": Code("unavailable", "storage failure", "The store does not do what it was asked."),
    "FT607": Code(
        "unavailable", "no such bucket", "The bucket or container does not exist; flowtime makes none."
    ),
    "FT608": Code(
        "invalid",
        "bad cloud settings",
        "The profile, connection string or variables that say how to reach the bucket cannot be used.",
    ),
    "FT609": Code(
        "unavailable",
        "too many open files",
        "The process may not open more files, or the machine has no room for more.",
    ),
    # FT7xx: templates and their parameters
    "FT700": Code(
        "invalid",
        "invalid template",
        "The template has the problems listed under it; all of them are reported at once.",
    ),
    "FT701": Code(
        "not_found", "unknown template", "No template has this id; the list of templates shows them."
    ),
    "FT702": Code(
        "invalid",
        "bad parameters",
        "The template cannot be filled in with these values; all problems are reported at once.",
    ),
    "FT703": Code("invalid", "unknown parameter", "The template has no parameter or scenario of this name."),
    "FT704": Code("invalid", "wrong parameter type", "The value has another type than the parameter."),
    "FT705": Code("invalid", "parameter not allowed", "The value breaks a rule that the parameter declares."),
    "FT706": Code("invalid", "bad setting", "A setting is written name=value."),
    "FT707": Code("invalid", "bad declaration", "A key of the template is unknown, missing or wrong."),
    "FT708": Code(
        "invalid",
        "bad place",
        "A `${name}` in the template names no parameter, or stands where it cannot be filled in safely.",
    ),
    "FT709": Code("unavailable", "unreadable template", "A template's file cannot be read."),
    "FT710": Code(
        "invalid", "bad template table", "A csv file beside the template lacks the column, or is not numbers."
    ),
    "FT711": Code(
        "invalid", "nothing to change", "A model is derived from another by naming at least one change."
    ),
    "FT712": Code(
        "invalid",
        "cannot be derived so",
        "A change names no parameter or node of the model, or a scenario that it does not have.",
    ),
    # FT8xx: comparison, the loop, commands
    "FT801": Code(
        "invalid", "cannot be compared", "The two grids have no common bins that mean the same time."
    ),
    "FT802": Code(
        "conflict", "confirmation needed", "The command would remove something; it was not confirmed."
    ),
    "FT803": Code(
        "invalid", "wrong use", "A command, option or argument is wrong; its help shows what is right."
    ),
    "FT805": Code("unavailable", "damaged artifact", "The data of an artifact is not what was published."),
    "FT806": Code(
        "invalid", "another model came back", "The model rebuilt from a file is not the one that it records."
    ),
    "FT807": Code(
        "invalid", "data does not fit the model", "Components, measures or grid differ from the model's."
    ),
    "FT808": Code("invalid", "not a grid", "A grid is written bins=N,size=N,unit=U[,start=T]."),
    "FT809": Code(
        "invalid", "not comparable things", "A model is compared with a model, series with series."
    ),
    "FT811": Code(
        "invalid",
        "bad binding",
        "A binding is component.measure=node: a series of the telemetry and a recorded node of the model.",
    ),
    "FT812": Code(
        "invalid", "no model to run", "The telemetry came without a model, and none was named to run with it."
    ),
    "FT813": Code("invalid", "no such view", "A chart shows bins that there are, and not too many numbers."),
    "FT814": Code(
        "unavailable", "library not installed", "What was asked for takes a Python library that is not here."
    ),
    "FT815": Code(
        "invalid",
        "nothing to judge",
        "A threshold is for series that one of the two sides has, of runs or data.",
    ),
    "FT816": Code(
        "invalid", "another run's file", "The file is not an export of the run that it is said to come from."
    ),
    # FT82x to FT84x: requests over HTTP
    "FT820": Code("not_found", "no such address", "The server has nothing at this address."),
    "FT821": Code("invalid", "method not allowed", "The address is there, but not for this method."),
    "FT822": Code("invalid", "bad request", "A parameter or the body of the request is not what is allowed."),
    "FT823": Code(
        "conflict", "changed meanwhile", "The artifact is not the one that If-Match names any more."
    ),
    "FT824": Code("invalid", "body too large", "The body of the request is over the server's limit."),
    "FT825": Code(
        "invalid", "range not satisfiable", "The file has no bytes in the range that was asked for."
    ),
    "FT826": Code(
        "invalid", "unsupported media type", "The body is in a form that this address does not read."
    ),
    "FT827": Code("invalid", "upload too slow", "The body of the request did not arrive in time."),
    "FT828": Code("denied", "login needed", "The request needs a token, and has none that is valid."),
    "FT829": Code("denied", "not allowed", "The role of this user does not allow the request."),
    "FT830": Code("denied", "another site", "A page of another site asked for a change; that is refused."),
    "FT831": Code("denied", "unknown host", "The server is not known under the host name of the request."),
    "FT832": Code(
        "denied", "too many attempts", "Too many wrong tokens came from this address; it has to wait."
    ),
    "FT833": Code("not_found", "no such job", "The server knows no job of this user with this id."),
    "FT834": Code("conflict", "cancelled", "The work was cancelled, and nothing of it was kept."),
    "FT835": Code("invalid", "not an access file", "The file of tokens and issuers cannot be used."),
    "FT836": Code("not_found", "no such token", "The access file has no token with this id."),
    "FT837": Code(
        "unavailable", "issuer not reachable", "The OIDC issuer does not answer, or not as it should."
    ),
    "FT838": Code("unavailable", "too many jobs", "The server takes no more long work at the moment."),
    "FT839": Code("unavailable", "server is stopping", "The work was given up because the server stops."),
    "FT840": Code("unavailable", "address in use", "The server cannot listen at this host and port."),
    "FT841": Code(
        "invalid",
        "not a question",
        "A range, a condition, a metric or the number of points of a question cannot be used.",
    ),
    "FT851": Code(
        None, "units differ", "A series has another unit than the model; values are not converted."
    ),
    # FT9xx: defects of flowtime itself
    "FT900": Code("internal", "defect", "flowtime met a state that it should never be in; please report it."),
}
"""Every code with its kind and explanation; codes without a kind are warnings."""
