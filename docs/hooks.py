"""What MkDocs adds to the pages of this folder while it builds the site.

- Pages that are files of the repository (README.md and others), so that nothing is written twice.
- A reference page for each room of the package, and the decisions in the navigation.
- A table of every option, from the configuration itself.
- Links to files that are not pages become plain text.
- A page that loads anything from a network stops the build.
"""

from __future__ import annotations

import ast
import inspect
import posixpath
import re
import textwrap
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel

from spice_keras.config import RunConfig
from spice_keras.options import PolicyOptions

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "saved_models/README.md": "saved-models.md",
}
"""Files of the repository that are pages of the site."""
_WITHOUT_HEADING = "    options: {show_root_heading: false, show_root_toc_entry: false}\n"
PLACE_OF_OPTIONS = "<!-- every option -->"
_LINK = re.compile(r"\[(?P<label>[^\]]*)\]\((?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_LOADED = re.compile(
    r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>"
)


def rooms() -> list[str]:
    """Name the packages of `spice_keras`, each of which gets a page of the reference."""
    return sorted(path.parent.name for path in (ROOT / "spice_keras").glob("*/__init__.py"))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages that are made here into the navigation."""
    sections: dict[str, list[Any]] = {}
    for entry in config.nav or []:
        if isinstance(entry, dict):
            sections |= entry
    pages = [{"the top": "reference/top.md"}, *({room: f"reference/{room}.md"} for room in rooms())]
    sections["Reference"].append({"By room": pages})
    decisions = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    sections["Decisions"] += [f"decisions/{path.name}" for path in decisions]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are files of the repository, and those of the reference."""
    for source, page in PAGES.items():
        files.append(
            File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8"))
        )
    for room in rooms():
        text = f"# `spice_keras.{room}`\n\n::: spice_keras.{room}\n{_WITHOUT_HEADING}"
        files.append(File.generated(config, f"reference/{room}.md", content=text))
    modules = sorted(path.stem for path in (ROOT / "spice_keras").glob("[a-z]*.py"))
    text = "# The top\n\n" + "\n\n".join(f"::: spice_keras.{module}" for module in modules)
    files.append(File.generated(config, "reference/top.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write the options where they belong, and lead links from the repository to the site."""
    if PLACE_OF_OPTIONS in markdown:
        markdown = markdown.replace(PLACE_OF_OPTIONS, "\n".join(option_tables()))
    sources = {page: source for source, page in PAGES.items()}
    here = page.file.src_uri
    source = sources.get(here, f"docs/{here}")
    led = partial(_led, source=source, here=here, files=files)
    parts = _CODE.split(markdown)
    parts[::2] = [_LINK.sub(led, text) for text in parts[::2]]
    return "".join(parts)


def _led(link: re.Match[str], *, source: str, here: str, files: Files) -> str:
    """Lead a link of the repository to the page it is on the site; else keep its label alone."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["path"]))
    page = PAGES.get(target, target.removeprefix("docs/"))
    if files.get_file_from_path(page) is None:
        page = f"{page}/index.md"
    if files.get_file_from_path(page) is None:
        return link["label"]
    path = posixpath.relpath(page, posixpath.dirname(here) or ".")
    return f"[{link['label']}]({path}{link['anchor'] or ''})"


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that loads anything from a network."""
    loaded = [tag for tag in _LOADED.findall(output) if 'rel="canonical"' not in tag]
    if loaded:
        raise PluginError(f"{page.file.src_uri} loads from a network: {loaded[0]}")
    return output


def option_tables() -> Iterator[str]:
    """Give every option with its values, default and meaning, a table a section."""
    yield from _section("", RunConfig, RunConfig())
    yield "\n## Policies of augmentation\n"
    yield "What `self.weak`, `self.strong`, `semi.weak`, `semi.strong` and `pretrain.views` take.\n"
    for policy in get_args(PolicyOptions):
        name = policy.model_fields["policy"].default
        yield f"\n### `{name}`\n\n{inspect.getdoc(policy)}\n"
        yield from _table("", policy, policy(), leave_out={"policy"})


def _section(prefix: str, model: type[BaseModel], values: BaseModel) -> Iterator[str]:
    """Give the options of a section, then those of the sections in it."""
    title = f"`{prefix.removesuffix('.')}`" if prefix else "The run"
    yield f"\n## {title}\n\n{inspect.getdoc(model)}\n"
    yield from _table(prefix, model, values)
    for name, field in model.model_fields.items():
        inner = _sub_section(field.annotation)
        if inner is not None:
            given = getattr(values, name)
            yield from _section(f"{prefix}{field.alias or name}.", inner, given or inner())


def _sub_section(annotation: Any) -> type[BaseModel] | None:
    """Return the section that an option is; a policy is none, it has a page part of its own."""
    kinds = [annotation, *get_args(annotation)]
    models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return models[0] if len(models) == 1 else None


def _table(
    prefix: str,
    model: type[BaseModel],
    values: BaseModel,
    leave_out: frozenset[str] | set[str] = frozenset(),
) -> Iterator[str]:
    schemas = model.model_json_schema(by_alias=True)
    meanings = _meanings(model)
    rows = []
    for name, field in model.model_fields.items():
        if name in leave_out or (_sub_section(field.annotation) and getattr(values, name)):
            continue
        key = field.alias or name
        allowed = _allowed(schemas["properties"][key], schemas.get("$defs", {}))
        default = yaml.safe_dump(
            values.model_dump(mode="json", by_alias=True)[key], default_flow_style=True
        )
        default = default.removesuffix("...\n").strip().replace("\n", " ")
        cells = [f"`{prefix}{key}`", allowed, f"`{default}`", meanings.get(name, "")]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    if rows:
        yield from ("| Option | Values | Default | Meaning |", "|---|---|---|---|", *rows)


def _allowed(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Say in words what a JSON schema allows."""
    if "discriminator" in schema:
        return "a policy, below"
    if "$ref" in schema:
        return "a section, below"
    if "anyOf" in schema:
        return " or ".join(_allowed(choice, definitions) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = {"integer": "whole number", "number": "number", "boolean": "true or false",
            "string": "text", "array": "list of texts", "null": "null"}[schema["type"]]  # fmt: skip
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    limits = [
        *([f"from {low:g}"] if low is not None else []),
        *([f"above {above:g}"] if above is not None else []),
        *([f"to {high:g}"] if high is not None else []),
        *([f"below {below:,.0f}"] if below is not None else []),
    ]
    return " ".join([kind, *limits])


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Read the text below each attribute, of the classes it inherits from as well."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if not issubclass(kind, BaseModel) or kind is BaseModel:
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        body = definition.body if isinstance(definition, ast.ClassDef) else []
        for attribute, text in pairwise(body):
            if not isinstance(attribute, ast.AnnAssign) or not isinstance(text, ast.Expr):
                continue
            if isinstance(text.value, ast.Constant) and isinstance(attribute.target, ast.Name):
                found[attribute.target.id] = " ".join(str(text.value.value).split())
    return found
