"""An exported model: a folder with its graph and all that says how to feed it and what it knows.

`model.onnx` is one file, weights included. `model.json` holds its SHA-256, the columns by role with
their types, and the dataset version it was trained on with the recipe of the samples.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from headrace.errors import ModelFilesError
from headrace.model_inputs.spec import FeatureSpec

FORMAT_VERSION = 1
GRAPH, FACTS = "model.onnx", "model.json"
Output = Literal["logit", "probability"]


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """What `model.json` says.

    `dataset`, `version`, `content_hash` and `code` are those of the lockfile; `recipe` is its
    `definition`. `types` has the columns of training. `output` says what the graph returns, [B].
    """

    dataset: str
    version: int
    content_hash: str
    code: str
    recipe: Mapping[str, Any]
    spec: FeatureSpec
    types: pa.Schema
    output: Output
    sha256: str

    @property
    def name(self) -> str:
        """What answers call the model: the dataset version and the beginning of its hash."""
        return f"{self.dataset}-v{self.version}-{self.sha256[:12]}"

    def save(self, folder: Path) -> None:
        """Write `model.json`; the graph is there already."""
        said = {
            **{k: v for k, v in vars(self).items() if k not in {"spec", "types"}},
            "spec": asdict(self.spec),
            "types": base64.b64encode(self.types.serialize()).decode(),
            "format_version": FORMAT_VERSION,
        }
        draft = folder / f".{FACTS}"
        draft.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")
        draft.replace(folder / FACTS)

    @classmethod
    def load(cls, folder: Path) -> "ExportedModel":
        """Read `model.json`, and check the graph beside it. Raises as `read` does."""
        return cls.read(folder)[0]

    @classmethod
    def read(cls, folder: Path) -> "tuple[ExportedModel, bytes]":
        """Read `model.json`, and the graph that it names: another may be put in its place meanwhile.

        Raises:
            ModelFilesError: If a file is missing or damaged, of another format or another model.

        """
        try:
            said: dict[str, Any] = json.loads((folder / FACTS).read_text())
            found = said.pop("format_version")
            if found != FORMAT_VERSION:
                detail = f"`{FACTS}` has format {found}, this version reads {FORMAT_VERSION}"
                raise ModelFilesError(str(folder), detail)
            spec = FeatureSpec(**said.pop("spec"))
            types = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(said.pop("types"))))
            model = cls(spec=spec, types=types, **said)
        except OSError as error:
            detail = f"`{error.filename}` cannot be read: {error.strerror}"
            raise ModelFilesError(str(folder), detail) from error
        except (ValueError, TypeError, KeyError, AttributeError, pa.ArrowException) as error:
            raise ModelFilesError(str(folder), f"`{FACTS}` is not one: {error}") from error
        graph = _content(folder / GRAPH)
        if hashlib.sha256(graph).hexdigest() != model.sha256:
            raise ModelFilesError(str(folder), f"`{GRAPH}` is not the graph that `{FACTS}` names")
        return model, graph


def sha256_of(path: Path) -> str:
    """Hash a file.

    Raises:
        ModelFilesError: If it cannot be read.

    """
    return hashlib.sha256(_content(path)).hexdigest()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        detail = f"`{path.name}` cannot be read: {error.strerror}"
        raise ModelFilesError(str(path.parent), detail) from error
