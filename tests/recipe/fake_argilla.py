"""As much of an Argilla server as the SDK needs to make a data set, log records and answers, and export them."""

import json
import uuid
from typing import Any

import httpx

NOW = "2026-01-01T00:00:00"
WORKSPACE = {"id": str(uuid.UUID(int=1)), "name": "argilla", "inserted_at": NOW, "updated_at": NOW}
ME = {"id": str(uuid.UUID(int=2)), "username": "ana", "role": "owner"}


class FakeArgilla:
    """A server in this process, for one data set: `sdk.Argilla(..., mounts=fake.mounts)` talks to it.

    Like the real one it gives ids, and calls a record completed that has as many submitted answers as it needs.
    """

    def __init__(self) -> None:
        self.dataset: dict[str, Any] = {}
        self.parts: dict[str, list[dict[str, Any]]] = {
            "fields": [],
            "questions": [],
            "metadata-properties": [],
            "vectors-settings": [],
        }
        self.records: dict[str, dict[str, Any]] = {}
        self.mounts = {"all://": httpx.MockTransport(self._answer)}

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path, query = request.url.path.removeprefix("/api/v1"), dict(request.url.params)
        last = path.rpartition("/")[2]
        sent = json.loads(request.content) if request.content else {}
        fixed = {"me": ME, "workspaces": {"items": [WORKSPACE]}, WORKSPACE["id"]: WORKSPACE}
        fixed |= {"datasets": {"items": [self.dataset] if self.dataset else []}}
        fixed |= {part: {"items": made} for part, made in self.parts.items()}
        match request.method, last:
            case "GET", "records":
                start = int(query["offset"])
                found: Any = {"items": list(self.records.values())[start : start + int(query["limit"])]}
            case "GET", name if name in fixed:
                found = fixed[name]
            case "GET", id_ if id_ == self.dataset.get("id"):
                found = self.dataset
            case "POST", "datasets":
                found = self.dataset = self._made(sent)
            case "POST", part if part in self.parts:
                found = self._made(sent)
                self.parts[part].append(found)
            case "PATCH", _:
                self.dataset |= {key: value for key, value in sent.items() if value is not None}
                found = self.dataset
            case "PUT", "publish":
                self.dataset["status"] = "ready"
                found = self.dataset
            case "PUT", "bulk":
                found = {"items": [self._upsert(one) for one in sent["items"]], "updated_item_ids": []}
            case _:
                return httpx.Response(404, json={"detail": f"{request.method} {path}"})
        return httpx.Response(200, json=found)

    def _made(self, sent: dict[str, Any]) -> dict[str, Any]:
        return sent | {"id": str(uuid.uuid4()), "inserted_at": NOW, "updated_at": NOW}

    def _upsert(self, sent: dict[str, Any]) -> dict[str, Any]:
        name = sent["external_id"]
        old = self.records.get(name) or self._made(
            {"suggestions": [], "responses": [], "metadata": {}, "vectors": {}}
        )
        record = old | {key: value for key, value in sent.items() if value and key != "id"}
        submitted = sum(response["status"] == "submitted" for response in record["responses"])
        enough = submitted >= self.dataset["distribution"]["min_submitted"]
        self.records[name] = record | {"status": "completed" if enough else "pending"}
        return self.records[name]
