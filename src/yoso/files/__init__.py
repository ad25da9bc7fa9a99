"""Files: read with errors that say how to fix them, written whole or not at all.

The other rooms import these names from here, not from the modules of this room.
"""

from yoso.files.images import (
    id_to_rgb,
    probe_image,
    read_id_map,
    read_image,
    read_labels,
    read_mask,
    read_upload,
    rgb_to_id,
    to_rgb,
    upload_size,
    write_id_map,
)
from yoso.files.json_text import JsonDecoder, parse_json
from yoso.files.locks import locked_folder
from yoso.files.names import safe_child
from yoso.files.opening import UPLOAD_FORMATS, UnknownFormatError
from yoso.files.paths import (
    IMAGE_SUFFIXES,
    PathLike,
    cannot_write,
    expanded,
    file_sha256,
    image_files,
    is_hidden,
    is_image_file,
    refuse_special,
)
from yoso.files.text import read_json, read_text, read_yaml, reading, write_json, write_text
from yoso.files.writing import written_whole

__all__ = [
    "IMAGE_SUFFIXES",
    "UPLOAD_FORMATS",
    "JsonDecoder",
    "PathLike",
    "UnknownFormatError",
    "cannot_write",
    "expanded",
    "file_sha256",
    "id_to_rgb",
    "image_files",
    "is_hidden",
    "is_image_file",
    "locked_folder",
    "parse_json",
    "probe_image",
    "read_id_map",
    "read_image",
    "read_json",
    "read_labels",
    "read_mask",
    "read_text",
    "read_upload",
    "read_yaml",
    "reading",
    "refuse_special",
    "rgb_to_id",
    "safe_child",
    "to_rgb",
    "upload_size",
    "write_id_map",
    "write_json",
    "write_text",
    "written_whole",
]
