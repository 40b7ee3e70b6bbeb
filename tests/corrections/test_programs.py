"""The programs that users get: what they make of a file is what the server sends.

CORRECTIONS_FILES=N corrects N random files instead of 25.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from astropy.io import fits

from tests.corrections.support import Value, as_csv, corrected, fix, image, opened, primary, write
from vo_service.model.correction import Correction, Datatype, FrameRange

PROGRAMS = Path(__file__).parents[2] / "vo_service" / "programs"
FILES = int(os.environ.get("CORRECTIONS_FILES", "25"))


@pytest.fixture(scope="module")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    if not shutil.which("gcc") or not Path("/usr/include/fitsio.h").is_file():
        pytest.skip("gcc and libcfitsio-dev are needed (script/test installs them)")
    target = tmp_path_factory.mktemp("c") / "apply_corrections"
    warn = ("-std=c99", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1")
    checks = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    source = PROGRAMS / "apply_corrections.c"
    command = ("gcc", *warn, *checks, "-o", target, source, "-lcfitsio", "-lm")
    subprocess.run(command, check=True, timeout=60)
    return [str(target)]


@pytest.fixture(scope="module", params=["python", "c"])
def program(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "c":
        made: list[str] = request.getfixturevalue("c_program")
        return made
    return [sys.executable, str(PROGRAMS / "apply_corrections.py")]


def run(
    program: Sequence[str],
    corrections: Sequence[Correction],
    *files: Path,
    options: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    listed = files[0].parent / "list.csv"
    listed.write_text(as_csv(corrections), encoding="utf-8")
    command = [*program, *options, str(listed), *map(str, files)]
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=100, env=environment
    )
    assert "Traceback" not in done.stderr
    assert "Sanitizer" not in done.stderr, done.stderr
    return done


def same_cards(one: Path, other: Path) -> None:
    """Card by card but for blank ones that a program leaves at the end; data byte by byte."""
    with opened(one) as a, opened(other) as b:
        for left, right in zip(a, b, strict=True):
            images = [[c.image for c in hdu.header.cards] for hdu in (left, right)]
            for cards in images:
                while cards and not cards[-1].strip():
                    cards.pop()
            # Where the blanks are other ones in number, so is the sum.
            if len(left.header.tostring()) != len(right.header.tostring()):
                images = [[c for c in cards if not c.startswith("CHECKSUM")] for cards in images]
            assert images[0] == images[1]
            spans = [hdu.fileinfo() for hdu in (left, right)]
            data = [
                path.read_bytes()[span["datLoc"] : span["datLoc"] + span["datSpan"]]
                for path, span in zip((one, other), spans, strict=True)
            ]
            assert data[0] == data[1]


def test_a_program_makes_what_the_server_sends(program: list[str], tmp_path: Path) -> None:
    cards: list[tuple[str, Value, str]] = [
        ("K", 0, "c"), ("OBJECT", "it's", "o"), ("ESO DET ID", 5, "d"), ("FLAG", True, ""),
    ]  # fmt: skip
    path = write(tmp_path / "F1.fits", primary(cards), image([("K", 7, "x"), ("U", None, "u")]))
    some = [
        fix("K", "0", "-9999", "float"),
        fix("K", "7", "8", "int", hdu="1", comment="new"),
        fix("OBJECT", "it's", "'", "string"),
        fix("ESO DET ID", "5", "6.5", "float"),
        fix("FLAG", "T", "F", "logical"),
        fix("U", "", "1e-5", "float"),
        fix("K", "-9999", "-1", "float"),
    ]
    expected = tmp_path / "expected.fits"
    expected.write_bytes(corrected(path, some)[0])
    done = run(program, some, path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{path}: 7 cards corrected\n"
    assert path.read_bytes() == expected.read_bytes()
    done = run(program, some, path)
    assert done.stdout == f"{path}: 0 cards corrected\n"
    assert path.read_bytes() == expected.read_bytes()


def test_a_program_says_what_it_does_not_apply(program: list[str], tmp_path: Path) -> None:
    path = write(tmp_path / "F1.fits", primary([("K", 0, "c"), ("S", "a", ""), ("U", None, "")]))
    before = path.read_bytes()
    some = [fix("K", "1", "2", "int"), fix("S", "b", "c", "string"), fix("NO", "1", "2", "int"),
            fix("U", "1", "2", "int"), fix("K", "0", "1", "int", hdu="5")]  # fmt: skip
    done = run(program, some, path)
    assert done.returncode == 1
    assert "HDU 0, K: found 0, expected 1\n" in done.stdout
    assert "HDU 0, S: found" in done.stdout
    assert "HDU any, NO: there is no such keyword\n" in done.stdout
    assert "HDU 0, U: found no value, expected 1\n" in done.stdout
    assert "HDU 5, K: there is no such keyword\n" in done.stdout
    assert path.read_bytes() == before


def test_a_program_looks_at_the_frame_of_a_file(program: list[str], tmp_path: Path) -> None:
    def made(name: str, frame: str | None) -> Path:
        cards: list[tuple[str, str | int, str]] = [("K", 0, "")]
        return write(
            tmp_path / name, primary([*cards, *([("FRAMEID", frame, "")] if frame else [])])
        )

    inside, outside = made("a.fits", "HSCA15297423"), made("b.fits", "HSCA15297558")
    by_name, other = made("HSCA15297424.fits", None), made("HSCA15297424.txt.fits", "X")
    some = [fix("K", "0", "1", "int", frames=FrameRange.of("HSCA15297400", "HSCA15297557"))]
    files = (inside, outside, by_name, other)
    assert run(program, some, *files).returncode == 0
    assert [fits.getval(path, "K") for path in files] == [1, 0, 1, 0]
    run(program, some, outside, options=["--any-frame"])
    run(program, some, other, options=["--frame-keyword", "NOTHING"])
    assert [fits.getval(path, "K") for path in files] == [1, 1, 1, 0]
    by_path = [fix("K", "0", "2", "int", frames=FrameRange.of("x/y/HSCA15297424.txt.fits", ""))]
    run(program, by_path, *files)
    assert [fits.getval(path, "K") for path in files] == [1, 1, 1, 2]


def test_a_header_may_need_another_block(program: list[str], tmp_path: Path) -> None:
    filled = [(f"K{n}", n, "") for n in range(24)]
    path = write(
        tmp_path / "F1.fits", primary([("NAME", "x", "n"), *filled]), image([("K", 1, "")])
    )
    some = [fix("NAME", "x", "it's " * 100, "string"), fix("K", "1", "2", "int")]
    expected = tmp_path / "expected.fits"
    expected.write_bytes(corrected(path, some)[0])
    assert run(program, some, path).returncode == 0
    assert path.stat().st_size == expected.stat().st_size
    same_cards(path, expected)
    back = [fix("NAME", "it's " * 100, "y", "string")]
    expected.write_bytes(corrected(path, back)[0])
    assert run(program, back, path).returncode == 0
    same_cards(path, expected)


@pytest.mark.parametrize(
    "content", [b"", b"no FITS file", b"\x1f\x8b\x08", b"SIMPLE  =                    T"]
)
def test_a_program_refuses_what_is_no_fits_file(
    program: list[str], tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "F1.fits"
    path.write_bytes(content)
    done = run(program, [fix("K", "0", "1")], path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{path}: ")
    assert path.read_bytes() == content


def test_a_program_refuses_what_is_no_list(program: list[str], tmp_path: Path) -> None:
    path = write(tmp_path / "F1.fits", primary([("K", 0, "")]))
    listed = tmp_path / "list.csv"
    for text in ("", "keyword,current\n", "a\nb\n"):
        listed.write_text(text)
        done = subprocess.run([*program, listed, path], capture_output=True, text=True, timeout=60)  # noqa: PLW1510 - it fails
        assert done.returncode == 1, text
        assert done.stderr.startswith(f"{listed}: ")
    done = subprocess.run([*program, listed], capture_output=True, text=True, timeout=60)  # noqa: PLW1510 - it fails
    assert done.returncode == 2
    assert "usage: " in done.stderr


def _random_case(
    rng: random.Random, number: int
) -> tuple[list[fits.hdu.base._BaseHDU], list[Correction]]:
    """A file and a list for it: some right, some wrong, some one after the other."""
    keywords = ["OBJECT", "K", "T_SEEING", "ESO DET ID", "LONGKEYWORD"]
    kinds: list[Datatype] = ["int", "float", "logical", "string", "float"]

    def value(kind: Datatype) -> str:
        text = "".join(rng.choices("ab'& /\"x", k=rng.choice((0, 5, 60, 68, 69, 150))))
        return {
            "int": str(rng.randint(-(10**9), 10**9)),
            "float": rng.choice(["", repr(rng.gauss(0, 1)), "1E-10", "1.5D3", "7"]),
            "logical": rng.choice("TF"),
            "string": text.strip().rstrip("&"),
        }[kind]  # fmt: skip

    headers, present = [], {}
    for hdu in range(3):
        header = fits.Header()
        for keyword in rng.sample(keywords, rng.randint(0, 5)):
            kind = rng.choice(kinds)
            text = value(kind) if keyword != "LONGKEYWORD" or kind != "string" else "short"
            shown = (
                text
                if kind == "string"
                else {"": fits.card.UNDEFINED, "T": True, "F": False}.get(text)
            )
            if shown is None:
                shown = int(text) if kind == "int" else float(text.replace("D", "E"))
            header[keyword] = (shown, "" if len(text) > 60 else rng.choice(["", "some comment"]))
            present[hdu, keyword] = (kind, text)
        for extra in range(rng.choice((0, 15, 25, 28, 30))):
            header[f"E{extra}"] = extra
        headers.append(header)
    frames = FrameRange.of(f"R{number:04}", "")
    some = []
    for _ in range(rng.randint(1, 6)):
        if not present or rng.random() < 0.1:
            some.append(fix("NOWHERE", "1", "2", "int", frames=frames))
            continue
        hdu, keyword = rng.choice(list(present))
        kind, text = present[hdu, keyword]
        new = value(kind)
        current = text if rng.random() < 0.8 else value(kind)
        comment = rng.choice(["", "", "a new comment", "y" * 70])
        some.append(fix(keyword, current, new, kind, hdu=str(hdu), comment=comment, frames=frames))
        if rng.random() < 0.5:
            present[hdu, keyword] = (kind, new)
    hdus = [primary([]), image([], "A", number), image([], "B", number + 1)]
    for hdu, header in zip(hdus, headers, strict=True):
        hdu.header.extend(header)
    return hdus, some


@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")
def test_on_random_files_program_and_server_agree(program: list[str], tmp_path: Path) -> None:
    rng = random.Random(4)
    files: list[Path] = []
    lists: list[list[Correction]] = []
    for number in range(FILES):
        hdus, some = _random_case(rng, number)
        path = write(tmp_path / f"R{number:04}.fits", *hdus, checksum=rng.random() < 0.7)
        (tmp_path / f"{path.stem}.expected").write_bytes(corrected(path, some)[0])
        files.append(path)
        lists.append(some)
    every = [correction for some in lists for correction in some]
    done = run(program, every, *files)
    assert done.stderr == ""
    changed = 0
    for path in files:
        expected = path.with_suffix(".expected")
        changed += expected.read_bytes() != path.read_bytes()
        same_cards(path, expected)
    if program[0] == sys.executable:
        assert changed == 0  # byte by byte
    # Once more: nothing changes, but where corrections go round in a circle.
    run(program, every, *files)
    for path, some in zip(files, lists, strict=True):
        expected = path.with_suffix(".expected")
        expected.write_bytes(corrected(expected, some)[0])
        same_cards(path, expected)
