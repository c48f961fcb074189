"""Truncated files are refused, whole ones in unusual dress are read."""

import io
import struct

import numpy as np
import pytest
import soundfile as sf

from diffconsole.audio import read_audio
from diffconsole.audio.containers import inspect_container, locate_chunk
from diffconsole.errors import AudioError

RATE = 44100
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, (RATE, 2))


def _encoded(major: str, subtype: str, rate: int = RATE, endian: str = "FILE") -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, NOISE, rate, format=major, subtype=subtype, endian=endian)
    return buffer.getvalue()


def _written(tmp_path, name: str, content: bytes):
    path = tmp_path / name
    path.write_bytes(content)
    return path


KINDS = {
    "wav16": ("WAV", "PCM_16", RATE),
    "wav_u8": ("WAV", "PCM_U8", RATE),
    "wav_float": ("WAV", "FLOAT", RATE),
    "wav_adpcm": ("WAV", "MS_ADPCM", RATE),
    "wavex": ("WAVEX", "PCM_24", RATE),
    "rf64": ("RF64", "PCM_16", RATE),
    "w64": ("W64", "PCM_16", RATE),
    "aiff": ("AIFF", "PCM_24", RATE),
    "aifc_float": ("AIFF", "FLOAT", RATE),
    "caf": ("CAF", "PCM_16", RATE),
    "flac": ("FLAC", "PCM_16", RATE),
    "vorbis": ("OGG", "VORBIS", RATE),
    "opus": ("OGG", "OPUS", 48000),
    "mp3": ("MP3", "MPEG_LAYER_III", RATE),
}


@pytest.mark.parametrize("fraction", [0.97, 0.5, 0.05])
@pytest.mark.parametrize("kind", KINDS)
def test_truncated(tmp_path, kind, fraction):
    content = _encoded(*KINDS[kind])
    path = _written(tmp_path, "cut.wav", content)
    read_audio(path)  # whole, it is read: the cut alone is refused
    path.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "truncated" in message
    assert "again" in message
    assert "\n" not in message


@pytest.mark.parametrize("kind", ["wav16", "wav_u8", "wav_float", "rf64", "w64", "aiff", "caf"])
def test_one_missing_byte_is_found(tmp_path, kind):
    path = _written(tmp_path, "cut.wav", _encoded(*KINDS[kind])[:-1])
    with pytest.raises(AudioError, match="truncated: its header states"):
        read_audio(path)


@pytest.mark.parametrize("kind", ["flac", "vorbis", "opus"])
def test_a_few_missing_bytes_are_found(tmp_path, kind):
    path = _written(tmp_path, "cut.bin", _encoded(*KINDS[kind])[:-20])
    with pytest.raises(AudioError, match="truncated"):
        read_audio(path)


@pytest.mark.parametrize("kind", ["vorbis", "opus"])
def test_ogg_cut_between_pages(tmp_path, kind):
    """Every page is whole; only the flag of the last one is missing."""
    content = _encoded(*KINDS[kind])
    path = _written(tmp_path, "cut.ogg", content[: content.rindex(b"OggS")])
    with pytest.raises(AudioError, match="its last page is not the end of the stream"):
        read_audio(path)


def test_mp3_that_states_frames_only(tmp_path):
    """Without a count of bytes, the decoded samples are held against the stated ones."""
    content = bytearray(_encoded(*KINDS["mp3"]))
    tag = content.index(b"Xing")
    assert content[tag + 7] & 3 == 3
    del content[tag + 12 : tag + 16]
    content[tag + 112 : tag + 112] = bytes(4)
    content[tag + 7] &= ~2
    samples, _ = read_audio(_written(tmp_path, "whole.mp3", bytes(content)))
    assert samples.shape[1] >= RATE
    path = _written(tmp_path, "cut.mp3", bytes(content[: len(content) // 2]))
    with pytest.raises(AudioError, match="is truncated: [0-9]+ samples are stated, [0-9]+ are"):
        read_audio(path)


def test_flac_cut_between_frames(tmp_path):
    content = _encoded("FLAC", "PCM_16")
    first = content.index(b"\xff\xf8")
    last = content.rindex(content[first : first + 3])
    path = _written(tmp_path, "cut.flac", content[:last])
    with pytest.raises(AudioError, match="truncated"):
        read_audio(path)


def test_flac_with_a_flipped_bit(tmp_path):
    content = bytearray(_encoded("FLAC", "PCM_16"))
    content[len(content) // 2] ^= 0x10
    with pytest.raises(AudioError, match="is damaged, truncated"):
        read_audio(_written(tmp_path, "flipped.flac", bytes(content)))


def test_flac_of_unknown_length(tmp_path):
    content = bytearray(_encoded("FLAC", "PCM_16"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    with pytest.raises(AudioError, match="does not state a length.*convert it to WAV"):
        read_audio(_written(tmp_path, "streamed.flac", bytes(content)))


def test_trailing_chunk_may_be_cut(tmp_path):
    """Markers behind the samples are no sound."""
    content = _encoded("WAV", "PCM_16")
    path = _written(tmp_path, "marks.wav", content + b"LIST" + struct.pack("<I", 500) + b"adtl")
    samples, _ = read_audio(path)
    assert samples.shape == (2, RATE)


def test_odd_chunk_without_padding_byte(tmp_path):
    """One byte fewer than RIFF asks for, and every sample is there."""
    buffer = io.BytesIO()
    sf.write(buffer, NOISE[:101, :1], RATE, format="WAV", subtype="PCM_U8")
    whole = buffer.getvalue()
    samples, _ = read_audio(_written(tmp_path, "odd.wav", whole[: 44 + 101]))
    assert samples.shape == (1, 101)


STREAMED = [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFF - 36]


@pytest.mark.parametrize("data_size", STREAMED)
@pytest.mark.parametrize("riff_size", ["same", "right", "header only"])
def test_streamed_wav(tmp_path, data_size, riff_size):
    """Programs that write into a pipe cannot fill in the sizes; all samples are read."""
    content = bytearray(_encoded("WAV", "PCM_16"))
    whole = len(content) - 8
    sizes = {"same": data_size, "right": whole, "header only": 36}
    content[4:8] = struct.pack("<I", sizes[riff_size])
    content[40:44] = struct.pack("<I", data_size)
    samples, rate = read_audio(_written(tmp_path, "streamed.wav", bytes(content)))
    assert rate == RATE
    assert samples.shape == (2, RATE)
    assert np.max(np.abs(samples - NOISE.T)) < 2**-15


@pytest.mark.parametrize("size", [0x7F000008, 0xFFFFFFFF])
def test_streamed_aiff(tmp_path, size):
    content = bytearray(_encoded("AIFF", "PCM_16"))
    sound = content.index(b"SSND")
    content[4:8] = struct.pack(">I", size)
    content[sound + 4 : sound + 8] = struct.pack(">I", size)
    samples, _ = read_audio(_written(tmp_path, "streamed.aiff", bytes(content)))
    assert samples.shape == (2, RATE)


def test_no_samples_before_a_chunk_is_not_a_stream(tmp_path):
    """0 bytes of samples, then a well-formed chunk: nothing was recorded."""
    content = bytearray(_encoded("WAV", "PCM_16")[:44])
    content[40:44] = bytes(4)
    content += b"LIST" + struct.pack("<I", 4) + b"INFO"
    content[4:8] = struct.pack("<I", len(content) - 8)
    with pytest.raises(AudioError, match="has 0 samples"):
        read_audio(_written(tmp_path, "nothing.wav", bytes(content)))


def test_big_endian_wav(tmp_path):
    content = _encoded("WAV", "PCM_16", endian="BIG")
    assert content[:4] == b"RIFX"
    samples, _ = read_audio(_written(tmp_path, "big.wav", content))
    assert np.max(np.abs(samples - NOISE.T)) < 2**-15
    with pytest.raises(AudioError, match="truncated"):
        read_audio(_written(tmp_path, "cut.wav", content[:-2]))


def _without_info_frame(content: bytes) -> bytes:
    """An MP3 from its second frame on: as old encoders and stream rippers write it."""
    second = content.index(b"\xff\xfb", 100)
    return content[second:]


def _constant_mp3() -> bytes:
    buffer = io.BytesIO()
    with sf.SoundFile(
        buffer,
        "w",
        RATE,
        2,
        "MPEG_LAYER_III",
        format="MP3",
        bitrate_mode="CONSTANT",
        compression_level=0.5,
    ) as file:
        file.write(NOISE)
    return buffer.getvalue()


def test_mp3_that_does_not_state_its_length(tmp_path):
    content = _without_info_frame(_constant_mp3())
    path = _written(tmp_path, "plain.mp3", content)
    samples, _ = read_audio(path)
    counted = inspect_container(path).samples
    assert counted is not None
    assert abs(samples.shape[1] - counted) <= 1152
    assert RATE <= counted <= RATE + 4 * 1152
    cut, _ = read_audio(_written(tmp_path, "cut.mp3", content[:-50]))
    assert 0 < samples.shape[1] - cut.shape[1] <= 2 * 1152


def test_mp3_tags_change_nothing(tmp_path):
    content = _encoded("MP3", "MPEG_LAYER_III")
    plain, _ = read_audio(_written(tmp_path, "plain.mp3", content))
    front = b"ID3\x03\0\0\0\0\x10\0" + bytes(2048)
    back = b"TAG" + bytes(125)
    tagged, _ = read_audio(_written(tmp_path, "tagged.mp3", front + content + back))
    assert np.array_equal(plain, tagged)
    with pytest.raises(AudioError, match="truncated within its ID3 tag"):
        read_audio(_written(tmp_path, "cut.mp3", front[:500]))


@pytest.mark.parametrize(
    "content",
    [
        b"Verse 1: hello\n" * 40,
        "Strophe 1: grüß dich\n".encode("utf-16") * 40,
        b"RIFF\x24\x10\x00\x00AVI LIST" + bytes(400),
        b"FORM\x00\x00\x10\x00ILBMBMHD" + bytes(400),
        b"\x89PNG\r\n\x1a\n" + bytes(400),
        b"RI",
        b"\xff\xfb\x90\x44" + bytes(4000),
        bytes(5000),
    ],
    ids=["text", "utf16", "film", "picture", "png", "two bytes", "one lone frame", "zeros"],
)
def test_not_audio(tmp_path, content):
    path = _written(tmp_path, "lyrics.wav", content)
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    assert str(caught.value) == (
        f"{path}: is not an audio file that can be read (WAV, FLAC, Ogg Vorbis, Opus, MP3, "
        "AIFF); export the audio as WAV"
    )


def test_bytes_at_random_never_escape(tmp_path):
    """Whatever follows a right magic number: an AudioError, no other exception."""
    generator = np.random.default_rng(7)
    magics = [b"RIFF\xff\0\0\0WAVE", b"RF64\xff\xff\xff\xffWAVE", b"FORM\0\0\1\0AIFF", b"OggS\0"]
    magics += [b"fLaC\0\0\0\x22", b"ID3\x03\0\0\0\0\0\x05", b"caff\0\1\0\0", b"riff.\x91\xcf\x11"]
    for magic in magics:
        for length in (0, 1, 7, 30, 64, 3000):
            path = _written(tmp_path, "random.wav", magic + generator.bytes(length))
            with pytest.raises(AudioError):
                read_audio(path)


def test_locate_chunk(tmp_path):
    path = _written(tmp_path, "float.wav", _encoded("WAV", "FLOAT"))
    offset = locate_chunk(path, b"PEAK")
    assert offset is not None
    assert path.read_bytes()[offset - 8 : offset - 4] == b"PEAK"
    assert locate_chunk(path, b"none") is None
