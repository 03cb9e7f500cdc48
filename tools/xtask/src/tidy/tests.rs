//! Each rule finds what it is for, and leaves alone what only looks like it.

use super::rust::Masked;
use super::{Finding, Source, crates, documents, layout, names, shape};

fn rust(path: &str, text: &str) -> Vec<String> {
    let source = Source::new(path, text.into());
    let masked = source.masked.as_ref().expect("a Rust file");
    let mut findings = names::check_rust(&source, masked);
    findings.extend(shape::check(&source, masked));
    findings.extend(names::check_text(&source));
    findings.into_iter().map(|finding| format!("{}: {}", finding.line, finding.what)).collect()
}

#[test]
fn comments_and_literals_are_blanked() {
    let text = r####"a /* unsafe /* nested */ */ b // unsafe
"unsafe \" unsafe" r#"unsafe " unsafe"# b"unsafe" 'u' '\'' '"' <'unsafe> br##"unsafe"## é '∀' c"unsafe"
unsafe"####;
    let masked = Masked::new(text);
    // A lifetime is no literal; the word after the last literal is code.
    assert_eq!(masked.lines_with("unsafe"), [2, 3]);
    let unused = Masked::new("let unsafely = not_unsafe; #![allow(unsafe_code)]");
    assert!(unused.lines_with("unsafe").is_empty());
}

#[test]
fn functions_are_found_by_their_braces() {
    let masked = Masked::new(
        "trait T { fn none(a: [u8; 4]); }\nfn one() {\n  if x { y }\n}\nconst fn two<'a>(s: &'a str) -> [u8; 2] where T: X { f(\"}\") }\n",
    );
    let found: Vec<_> = masked.functions().into_iter().map(|f| (f.name, f.first, f.last)).collect();
    assert_eq!(found, [("one".into(), 2, 4), ("two".into(), 5, 5)]);
}

#[test]
fn reserved_names_need_their_files() {
    let text = "//! About io_uring.\nuse glommio::Task;\nuse io_uring::IoUring;\nlet text = \"io_uring\";\n";
    assert_eq!(rust("src/session.rs", text).len(), 2);
    assert_eq!(rust("net/src/ring.rs", text).len(), 1);
    assert_eq!(rust("src/check.rs", "//! x\nfn io_uring() { io_uring(1) }\n").len(), 0);
    assert_eq!(rust("src/env/disk.rs", text).len(), 0);
    assert_eq!(rust("tests/cluster.rs", "//! x\nuse tokio::time;\n").len(), 1);
}

#[test]
fn unsafe_needs_its_file_and_its_proof() {
    let bare = format!("//! x\nfn f() {{\n    {} {{ g() }}\n}}\n", "unsafe");
    let proven = bare.replace("    unsafe", "    // SAFETY: g has no conditions.\n    unsafe");
    assert_eq!(rust("net/src/ring.rs", &bare), ["3: unsafe without a SAFETY comment above it"]);
    assert!(rust("net/src/ring.rs", &proven).is_empty());
    assert_eq!(rust("engine/src/index.rs", &proven).len(), 1);
}

#[test]
fn unwrap_is_for_tests() {
    let code = "//! x\nfn f() {\n    g().unwrap();\n}\n#[cfg(test)]\nmod tests {\n    fn h() {\n        g().unwrap();\n    }\n}\n";
    assert_eq!(rust("engine/src/frame.rs", code).len(), 1);
    assert!(rust("engine/src/frame/tests.rs", code).is_empty());
    assert!(rust("tests/commands.rs", code).is_empty());
    assert!(rust("engine/src/frame.rs", "//! x\nfn f() { g().unwrap_or(1); }\n").is_empty());
}

#[test]
fn long_functions_and_files_are_found_and_the_ratchet_only_tightens() {
    let long = format!("//! x\nfn long() {{\n{}}}\n", "    a();\n".repeat(69));
    assert_eq!(rust("src/a.rs", &long), ["2: fn long has 71 lines, at most 70"]);
    assert!(rust("src/a/tests.rs", &long).is_empty());
    let masked = Masked::new(&long);
    assert!(shape::functions("src/a.rs", &masked, &[("src/a.rs", "long", 71)]).is_empty());
    assert_eq!(shape::functions("src/a.rs", &masked, &[("src/a.rs", "long", 70)]).len(), 1);
    let short = Masked::new("//! x\nfn long() {}\n");
    assert_eq!(shape::functions("src/a.rs", &short, &[("src/a.rs", "long", 71)]).len(), 1);
    assert_eq!(rust("src/a.rs", &format!("//! x\n{}", "const A: u8 = 1;\n".repeat(450))).len(), 1);
    assert_eq!(rust("src/a.rs", "// x\n").len(), 1);
}

#[test]
fn foreign_words_are_found_in_any_text() {
    let path = ["", "home", "someone", "x"].join("/");
    let source = Source::new("README.md", format!("see {path}\nand {}{}: later\n", "FIX", "ME"));
    assert_eq!(names::check_text(&source).len(), 2);
    let left = format!("//! x\nfn f() {{ {}!() }}\n", "todo");
    assert_eq!(rust("src/a.rs", &left).len(), 1);
}

#[test]
fn the_top_level_is_fixed() {
    let source = |path: &str| Source::new(path, String::new());
    let sources = ["notes.md", "docs/a.md", "src/a.toml", ".gitignore", "LICENSE-MIT", "tests/x/y"].map(source);
    let found: Vec<String> = layout::check(&sources).into_iter().map(|Finding { path, .. }| path).collect();
    assert_eq!(found, ["notes.md", "docs/a.md"]);
}

#[test]
fn crates_keep_their_distance() {
    let check = |text: &str| crates::check_manifest("x/Cargo.toml", &text.parse().expect("a manifest")).len();
    assert_eq!(check("[package]\nname = 'annulus-net'\n[dependencies]\nannulus-engine.workspace = true\n"), 1);
    assert_eq!(check("[package]\nname = 'annulus-net'\n[dev-dependencies]\nannulus-object = { path = 'x' }\n"), 1);
    assert_eq!(check("[package]\nname = 'annulus-engine'\n[dependencies]\nannulus-object.workspace = true\n"), 0);
    assert_eq!(check("[package]\nname = 'annulus-engine'\n[dependencies]\no = { package = 'annulus-net' }\n"), 1);
    assert_eq!(check("[package]\nname = 'annulus-engine'\n[dependencies]\nglommio.workspace = true\n"), 1);
}

#[test]
fn licences_are_expressions() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR MIT",
    ] {
        assert!(crates::is_allowed(good), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-2.0"] {
        assert!(!crates::is_allowed(bad), "{bad}");
    }
}

#[test]
fn documents_point_at_what_exists() {
    let text = "[a](../src/lib.rs#x) [b](gone.md) [c](https://example.org/x) `src/lib.rs` `src/gone.rs` `plain.rs`\n```\n[d](gone.md)\n```\n";
    let source = Source::new("engine/README.md", text.into());
    let exists = |path: &std::path::Path| path == std::path::Path::new("src/lib.rs");
    let found: Vec<String> =
        documents::check_document(&source, &exists).into_iter().map(|finding| finding.what).collect();
    assert_eq!(found, ["the link to gone.md leads nowhere", "there is no src/gone.rs"]);
}
