"""Words of the Converse API for media types, and its form of what is hidden: bytes, in base64."""

from __future__ import annotations

import base64

__all__ = ["FORMATS", "MEDIA_TYPES", "OF_DOCUMENTS", "OF_MEDIA", "blob_of", "hidden_in"]

_OTHERS = b"dispatch:"
"""Before what is no base64 of its own."""

OF_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
"""The format of a document, by its media type."""
FORMATS = {word: media_type for media_type, word in OF_DOCUMENTS.items()}
"""The other way."""
OF_MEDIA = {"jpg": "jpeg", "3gpp": "three_gp", "quicktime": "mov", "x-matroska": "mkv", "x-ms-wmv": "wmv", "x-flv": "flv", "x-wav": "wav"}
"""The format of other media, by the second part of the media type, where these differ."""
MEDIA_TYPES = {
    "video/three_gp": "video/3gpp",
    "video/mov": "video/quicktime",
    "video/mkv": "video/x-matroska",
    "video/wmv": "video/x-ms-wmv",
    "video/flv": "video/x-flv",
    "video/mpg": "video/mpeg",
    "audio/mp3": "audio/mpeg",
    "audio/mpga": "audio/mpeg",
    "audio/m4a": "audio/mp4",
}
"""Media types of kinds with formats, where these differ."""


def blob_of(hidden: str) -> str:
    """Hidden reasoning as bytes: SDKs decode it, and encode it anew when they send it back, which must not change it."""
    try:
        if base64.b64encode(base64.b64decode(hidden, validate=True)).decode() == hidden:
            return hidden
    except ValueError:
        pass
    return base64.b64encode(_OTHERS + hidden.encode()).decode()


def hidden_in(blob: str) -> str:
    """The other way."""
    try:
        raw = base64.b64decode(blob, validate=True)
        return raw.removeprefix(_OTHERS).decode() if raw.startswith(_OTHERS) else blob
    except ValueError:
        return blob
