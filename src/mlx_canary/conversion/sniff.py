"""What a file looks like: its first bytes in, a few words out.

Only for error messages. Nothing is decided on a file's name.
"""

_MAGIC = (
    (b"PK\x03\x04", "a zip archive, such as a bare torch checkpoint"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstandard file"),
    (b"7z\xbc\xaf", "a 7-zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"Salted__", "a file encrypted with openssl"),
    (b"age-encryption", "a file encrypted with age"),
    (b"-----BEGIN PGP", "a file encrypted with PGP"),
    (b"GGUF", "a GGUF model"),
    (b"\x89HDF", "an HDF5 file"),
    (b"RIFF", "a sound or picture file"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself (run `git lfs pull`)"),
)
# Every torch checkpoint before 1.6 opens with this number, pickled.
_TORCH_LEGACY = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"


def looks_like(head: bytes) -> str:
    """Name what a file seems to be.

    Args:
        head: Its first bytes; 512 are plenty.

    Returns:
        A noun phrase that completes "it looks like ...".
    """
    for magic, words in _MAGIC:
        if head.startswith(magic):
            return words
    return _without_magic(head)


def _without_magic(head: bytes) -> str:
    if not head:
        return "an empty file"
    if not any(head):
        return "zeros, as an interrupted download leaves"
    if head[:1] == b"\x80" and _TORCH_LEGACY in head[:32]:
        return "a torch checkpoint of the old format (before torch 1.6)"
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return "a bare pickle"
    if head[257:262] == b"ustar":
        return "a tar archive"
    if head[8:9] == b"{" and head[5:8] == b"\0\0\0":
        return "a safetensors file"
    return _text(head)


def _text(head: bytes) -> str:
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html")):
        return "a web page, as a failed download leaves"
    if text.startswith((b"<?xml", b"<error")):
        return "an XML message, as a failed download leaves"
    if text.startswith((b"{", b"[")):
        return "a JSON file"
    printable = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head[:256])
    return "a text file" if printable else "data of an unknown or encrypted kind"
