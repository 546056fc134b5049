//! Places that catalogs name to harm those who download them.

/// Places that are fine by themselves.
pub const HARMLESS: [&str; 4] = [
    "readme.txt",
    "folder/file",
    "größer/日本 ❤.txt",
    "...three dots",
];

/// Places that collide with one of [`HARMLESS`], on some systems at least.
pub const COLLISIONS: [&str; 6] = [
    "README.TXT",
    "readme.txt",
    "readme.txt/below",
    "folder",
    "FOLDER",
    "readme.txt.part",
];

/// Places that no file is written to.
pub fn tricks() -> Vec<String> {
    let fixed = [
        "../escaped",
        "a/../../escaped",
        "a/..",
        "..",
        ".",
        "./dot",
        "/absolute",
        "//server/share",
        "C:/drive",
        "c:drive",
        "\\\\server\\share",
        "\\\\?\\C:\\device",
        "..\\escaped",
        "a\\b",
        "CON",
        "con.tar.gz",
        "a/nul.txt",
        "Lpt1.tar.gz",
        "COM¹",
        "stream:hidden",
        "what?",
        "nul\0byte",
        "bell\u{7}",
        "line\nbreak",
        "escape\u{1b}[2J",
        "osc\u{1b}]52;c;YQ==\u{7}",
        "dot.",
        "space ",
        "folder./file",
        "",
        "a//b",
        "a/",
        "bidi\u{202e}gpj.exe",
        "isolate\u{2066}x\u{2069}",
        "zero\u{200b}width",
        "join\u{200d}ed",
    ];
    let long = [
        "x".repeat(251),
        format!("a/{}", "y/".repeat(600)),
        "d/".repeat(32) + "deep",
        "z".repeat(4096),
    ];
    fixed.into_iter().map(str::to_owned).chain(long).collect()
}
