"""What a request asks: a form's fields in, TranscriptionOptions out. Fields that nobody would obey are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, ImmutableMultiDict, QueryParams, UploadFile

from mlx_canary.decoding.options import LEAST_TEMPERATURE, DecodingOptions
from mlx_canary.requests import AUTO, TranscriptionOptions
from mlx_canary.serve.failures import RequestError

Format = Literal["json", "text", "verbose_json", "srt", "vtt"]
Granularity = Literal["word", "segment"]
_REPEATED = "timestamp_granularities[]"


def _none_if_empty(value: Any) -> Any:
    """What a web page's form sends where nothing was chosen."""
    return None if value == "" else value


Code = Annotated[Annotated[str, Field(max_length=32)] | None, BeforeValidator(_none_if_empty)]
# Every language of a model may be named among those to choose from.
Spoken = Annotated[Annotated[str, Field(max_length=256)] | None, BeforeValidator(_none_if_empty)]


class TranscriptionForm(BaseModel):
    """The fields beside the file, by OpenAI's names and some of our own."""

    model_config = ConfigDict(extra="forbid", populate_by_name=False)

    model: str = Field(description="The served model's id, or one of its aliases.", max_length=256)
    language: Spoken = Field(
        default=None, description="The language spoken, such as en; auto to find out, auto:en,de among these."
    )
    prompt: str = Field(default="", description="Text that came before, or names to expect.", max_length=4000)
    response_format: Format = Field(default="json", description="The shape of the answer.")
    temperature: float = Field(default=0.0, description="Above 0: words are drawn at random.", ge=0, le=1)
    timestamp_granularities: list[Granularity] = Field(
        default_factory=list,
        alias="timestamp_granularities[]",
        description="With verbose_json: times of words, of segments (default).",
    )
    stream: bool = Field(default=False, description="Send the text as server-sent events while it is found.")
    chunking_strategy: Literal["auto"] | None = Field(default=None, description="They are cut at quiet places.")
    target_language: Code = Field(default=None, description="Ours: the language of the text, where it is another one.")
    pnc: bool = Field(default=True, description="Ours: punctuation and capitals.")
    itn: bool = Field(default=False, description="Ours: numbers as digits, where the model learned that.")
    times_from: Annotated[Literal["model", "attention"] | None, BeforeValidator(_none_if_empty)] = Field(
        default=None, description="Ours: times from the model's own tokens or aligner, or from where it looks."
    )


class ResultQuery(BaseModel):
    """How a job's text is wanted; what is not said is as the job was sent."""

    model_config = ConfigDict(extra="forbid", populate_by_name=False)

    response_format: Format | None = Field(default=None, description="The shape of the answer.")
    timestamp_granularities: list[Granularity] = Field(
        default_factory=list,
        alias="timestamp_granularities[]",
        description="With verbose_json: times of words, of segments.",
    )


def query_schema() -> list[dict[str, Any]]:
    """The options of a job's result for the OpenAPI document."""
    properties = ResultQuery.model_json_schema(by_alias=True)["properties"]
    return [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]


def form_schema() -> dict[str, Any]:
    """The whole form for the OpenAPI document."""
    schema = TranscriptionForm.model_json_schema(by_alias=True)
    file = {"type": "string", "format": "binary", "description": "The recording, in any usual format."}
    schema["properties"] = {"file": file, **schema["properties"]}
    schema["required"] = ["file", *schema["required"]]
    return schema


def read_form(form: FormData) -> tuple[UploadFile, TranscriptionForm]:
    """The file and the checked fields.

    Raises:
        RequestError: A field is missing, unknown, given twice or has an impossible value.
    """
    values = _values(form)
    file = values.pop("file", None)
    if not isinstance(file, UploadFile):
        raise RequestError(400, "missing_file", "There is no recording. Send it as the form's file.", "file")
    return file, _checked(values)


def read_query(query: QueryParams) -> ResultQuery:
    """The checked options of a job's result.

    Raises:
        RequestError: One is unknown, given twice or has an impossible value.
    """
    try:
        return ResultQuery.model_validate(_values(query))
    except ValidationError as error:
        raise _invalid(error, _names(ResultQuery)) from error


def as_asked(form: TranscriptionForm, query: ResultQuery) -> TranscriptionForm:
    """A job's form with the options of its result.

    Raises:
        RequestError: They do not go together.
    """
    wanted = form.model_copy(update=query.model_dump(exclude_unset=True, exclude_none=True))
    _check_granularities(query.timestamp_granularities, wanted.response_format)
    return wanted


def _values(given: ImmutableMultiDict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in given.multi_items():
        if name == _REPEATED:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise RequestError(400, "invalid_form", f"The field {name!r:.60} is given twice.", name[:60])
        else:
            values[name] = value
    return values


def _checked(values: Mapping[str, Any]) -> TranscriptionForm:
    try:
        form = TranscriptionForm.model_validate(values)
    except ValidationError as error:
        raise _invalid(error, ("file", *_names(TranscriptionForm))) from error
    _check_granularities(form.timestamp_granularities, form.response_format)
    if form.stream and form.response_format in ("srt", "vtt"):
        raise RequestError(
            400, "invalid_option", f"{form.response_format} is written at the end; it cannot be streamed.", "stream"
        )
    return form


def _check_granularities(asked: list[Granularity], format: Format) -> None:
    if asked and format != "verbose_json":
        raise RequestError(
            400, "invalid_option", "timestamp_granularities[] needs response_format=verbose_json.", _REPEATED
        )


def _names(fields: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in fields.model_fields.items())


def _invalid(error: ValidationError, known: tuple[str, ...]) -> RequestError:
    """The first thing that is wrong, in a sentence."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(map(str, first["loc"]))[:60] or None
    if first["type"] == "extra_forbidden":
        message = f"The field {field!r} is not known. Known are: {', '.join(known)}."
        return RequestError(400, "unknown_field", message, field)
    return RequestError(400, "invalid_value", f"{field or 'The request'}: {first['msg']}.", field)


def options_of(
    form: TranscriptionForm, named: str | None, default: str | None, translate: bool
) -> TranscriptionOptions:
    """What that means for the model.

    Args:
        form: The fields.
        named: The language that the server was told to take where the form names none.
        default: The model's own, where neither names one.
        translate: Whether the text is wanted in another language whatever the form says; English, if it does not.
    """
    language = form.language or named
    spoken = language or default
    target = form.target_language or ("en" if translate else None)
    if translate and form.language is None and spoken == target:
        language = AUTO  # OpenAI's clients have no way to name the language spoken here
    is_translation = target is not None and (translate or target != spoken)
    return TranscriptionOptions(
        language=language,
        task="translate" if is_translation else "transcribe",
        target_lang=target if is_translation else None,
        pnc=form.pnc,
        itn=form.itn,
        context=form.prompt,
        timestamps=_timestamps(form),
        times_from=form.times_from,
        decoding=DecodingOptions(temperature=form.temperature) if form.temperature >= LEAST_TEMPERATURE else None,
        channel=0,  # the channels of an upload are mixed when it is decoded
    )


def options_of_job(form: TranscriptionForm, named: str | None, default: str | None) -> TranscriptionOptions:
    """The same for a job: with times of words, so that its text can be had in every format later."""
    return replace(options_of(form, named, default, translate=False), timestamps="word")


def check_times(form: TranscriptionForm) -> None:
    """Refuse to say where times are to come from, for a text without times.

    Raises:
        RequestError: That was said.
    """
    if form.times_from is not None and _timestamps(form) is None:
        raise RequestError(
            400, "invalid_option", "times_from needs response_format=verbose_json, srt or vtt.", "times_from"
        )


def _timestamps(form: TranscriptionForm) -> Granularity | None:
    if form.response_format == "verbose_json":
        return "word" if "word" in form.timestamp_granularities else "segment"
    return "word" if form.response_format in ("srt", "vtt") else None
