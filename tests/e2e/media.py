"""The test's film: made by ffmpeg, delivered as HLS in two renditions.

Video only, H.264 baseline, 2 s segments that each start with a key frame, so that a player may switch at
every border.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

SEGMENT_S = 2
RENDITIONS = (("low", "160x90", 120), ("high", "320x180", 400))


def make_film(folder: Path, *, duration_s: int = 60) -> Path:
    """Write the film's playlists and segments into `folder` (a few seconds' work); returns the master."""
    folder.mkdir(parents=True, exist_ok=True)
    master = ["#EXTM3U", "#EXT-X-VERSION:3"]
    for name, size, kbps in RENDITIONS:
        subprocess.run(
            [
                *("ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-threads", "2"),
                *("-f", "lavfi", "-i", f"testsrc=size={size}:rate=25:duration={duration_s}"),
                *("-c:v", "libx264", "-profile:v", "baseline", "-level", "3.0", "-pix_fmt", "yuv420p"),
                *("-preset", "ultrafast", "-b:v", f"{kbps}k", "-maxrate", f"{kbps}k", "-bufsize", f"{kbps}k"),
                *("-g", str(25 * SEGMENT_S), "-keyint_min", str(25 * SEGMENT_S), "-sc_threshold", "0"),
                *(
                    "-f",
                    "hls",
                    "-hls_time",
                    str(SEGMENT_S),
                    "-hls_playlist_type",
                    "vod",
                    "-hls_list_size",
                    "0",
                ),
                *("-hls_segment_filename", str(folder / f"{name}-%03d.ts"), str(folder / f"{name}.m3u8")),
            ],
            check=True,
            timeout=60,
        )
        master += [
            f'#EXT-X-STREAM-INF:BANDWIDTH={kbps * 1000},RESOLUTION={size},CODECS="avc1.42c01e"',
            f"{name}.m3u8",
        ]
    (folder / "master.m3u8").write_text("\n".join(master) + "\n")
    return folder / "master.m3u8"
