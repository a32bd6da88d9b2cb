"""What to do about a picture file that cannot be decoded, by its first bytes."""

from __future__ import annotations

HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_OTHERS = {
    b"%PDF": "it is a PDF document; save its picture as PNG or JPEG",
    b"<svg": "it is an SVG drawing; export it as PNG",
    b"<?xm": "it is a text in XML (an SVG drawing?); export it as PNG",
    b"<!DO": "it is a web page, not a picture; was the download refused?",
    b"<htm": "it is a web page, not a picture; was the download refused?",
    b"version https://git-lfs": "it stands for a file in Git LFS; fetch it with: git lfs pull",
    b"II*\0": "it is a TIFF or raw photo of a kind that OpenCV cannot read; convert it to PNG or JPEG",
    b"MM\0*": "it is a TIFF or raw photo of a kind that OpenCV cannot read; convert it to PNG or JPEG",
}


def picture_advice(start: bytes) -> str:
    """A remedy for a file that starts so (32 bytes are enough) and that OpenCV cannot decode."""
    if not start:
        return "not a picture that OpenCV can read: the file is empty"
    if start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS:
        return (
            "it is a HEIC photo, as iPhones save them; convert it with: heif-convert PHOTO.heic PHOTO.jpg (or: magick PHOTO.heic "
            "PHOTO.jpg), or set the camera to 'Most Compatible'"
        )
    if start[4:8] == b"ftyp" and start[8:12] not in (b"avif", b"avis"):
        return "it is a video or a kind of photo that OpenCV cannot read; videos go to: sheap predict VIDEO (or sheap ingest)"
    for magic, advice in _OTHERS.items():
        if start.lstrip().startswith(magic):
            return advice
    return "not a picture that OpenCV can read, or damaged; save it anew as PNG or JPEG"
