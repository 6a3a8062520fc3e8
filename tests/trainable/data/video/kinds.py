"""Containers and codecs that videos come in, each with an encoder that PyAV brings."""

from tests.trainable.data.video.stamped import Kind

X264 = {"g": "12", "bf": "2", "preset": "veryfast", "x264-params": "scenecut=0"}
GROUPS = {"g": "12", "bf": "2"}
VPX = {"cpu-used": "8", "g": "12"}
OPEN = {"x265-params": "keyint=12:open-gop=1:bframes=3:log-level=none", "preset": "fast"}
AV1 = {"preset": "12"}

KINDS = (
    *(
        Kind(f"a.{ending}", "libx264", X264)
        for ending in ["mp4", "mkv", "mov", "m4v", "flv", "f4v", "avi", "ts", "3gp", "h264"]
    ),
    Kind("a.mts", "libx264", X264, container="mpegts"),
    Kind("a.m2ts", "libx264", X264, container="mpegts"),
    *(Kind(f"open.{ending}", "libx265", OPEN) for ending in ("mp4", "mov", "mkv", "ts")),
    Kind("a.webm", "libvpx-vp9", VPX),
    Kind("a8.webm", "libvpx", VPX),
    Kind("a.ogv", "libvpx", VPX),
    *(Kind(f"a1.{ending}", "libsvtav1", AV1, size=(64, 96)) for ending in ("mp4", "mkv", "webm", "ivf")),
    *(Kind(f"b.{ending}", "mpeg4", GROUPS) for ending in ("avi", "mp4", "mkv", "nut")),
    *(Kind(f"p.{ending}", "mpeg2video", GROUPS) for ending in ("mpg", "vob", "ts", "m2v")),
    Kind("p1.mpg", "mpeg1video", GROUPS),
    Kind("x.mxf", "mpeg2video", GROUPS, rate=25),
    Kind("w.wmv", "msmpeg4", {"g": "12"}),
    Kind("w2.wmv", "wmv2", {"g": "12"}),
    Kind("f.flv", "flv1"),
    Kind("g.gif", "gif", pixels="rgb8", rate=10, bit_rate=None),
    Kind("y.y4m", "rawvideo", container="yuv4mpegpipe"),
    Kind("m.avi", "mjpeg", pixels="yuvj420p"),
    Kind("p.mov", "prores_ks", pixels="yuv422p10le"),
    Kind("v.mkv", "ffv1"),
    Kind("d.dv", "dvvideo", size=(576, 720), rate=25),
    Kind("h.3gp", "h263", size=(144, 176)),
    Kind("r.rm", "rv20"),
)
