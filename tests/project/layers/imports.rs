//! The imports of a Rust source that matter for layers: paths that begin at a crate, in `use` lines and elsewhere.

/// Returns the tokens of a source without comments, texts and tests: identifiers, and single characters.
fn tokens(source: &str) -> Vec<&str> {
    let bytes = source.as_bytes();
    let is_word = |i: usize| bytes.get(i).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let find = |from: usize, end: &str| source[from..].find(end).map_or(source.len(), |at| from + at + end.len());
    let (mut tokens, mut i) = (Vec::new(), 0);
    while i < source.len() {
        let rest = &source[i..];
        if rest.starts_with("//") {
            i = find(i, "\n");
        } else if rest.starts_with("/*") {
            i = find(i, "*/");
        } else if let Some(hashes) = raw_string(rest).filter(|_| i == 0 || !is_word(i - 1)) {
            let start = i + rest.find('"').unwrap_or(0) + 1;
            i = find(start, &format!("\"{}", "#".repeat(hashes)));
        } else if rest.starts_with('"') {
            i += 1;
            while i < source.len() && bytes[i] != b'"' {
                i += 1 + usize::from(bytes[i] == b'\\');
            }
            i += 1;
        } else if let Some(length) = char_literal(rest) {
            i += length;
        } else if is_word(i) {
            let start = i;
            while is_word(i) {
                i += 1;
            }
            tokens.push(&source[start..i]);
        } else {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            if !rest.starts_with(char::is_whitespace) {
                tokens.push(&rest[..length]);
            }
            i += length;
        }
    }
    without_tests(&tokens)
}

/// Returns the number of `#` of a raw string that begins here.
fn raw_string(text: &str) -> Option<usize> {
    let text = text.strip_prefix('b').unwrap_or(text).strip_prefix('r')?;
    let hashes = text.bytes().take_while(|b| *b == b'#').count();
    text[hashes..].starts_with('"').then_some(hashes)
}

/// Returns the length of a character in quotes, unless it is a lifetime.
fn char_literal(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    if let Some(escaped) = inner.strip_prefix('\\') {
        return escaped.get(1..)?.find('\'').map(|end| end + 4);
    }
    let length = inner.chars().next()?.len_utf8();
    inner[length..].starts_with('\'').then_some(length + 2)
}

/// Removes the item after `#[cfg(test)]`, up to its semicolon or its closing brace.
fn without_tests<'a>(tokens: &[&'a str]) -> Vec<&'a str> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut i) = (Vec::new(), 0);
    while i < tokens.len() {
        if !tokens[i..].starts_with(&MARK) {
            kept.push(tokens[i]);
            i += 1;
            continue;
        }
        let mut depth = 0;
        i += MARK.len();
        while i < tokens.len() {
            depth += i32::from(tokens[i] == "{") - i32::from(tokens[i] == "}");
            i += 1;
            if depth == 0 && [";", "}"].contains(&tokens[i - 1]) {
                break;
            }
        }
    }
    kept
}

/// A path in a source, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    /// The name that a `use` gives it.
    pub(crate) name: Option<String>,
    /// The module that contains it.
    pub(crate) module: Vec<String>,
}

impl Import {
    /// Returns the path from the crate's root, without `crate`, or `None` if it is of another crate. `is_module` tells
    /// whether the crate has a module, because a path in a `use` may also begin at a child of its module.
    pub(crate) fn within(&self, is_module: impl Fn(&[String]) -> bool) -> Option<Vec<String>> {
        let up = self.path.iter().take_while(|segment| *segment == "super").count();
        let joined = |base: &[String], rest: &[String]| base.iter().chain(rest).cloned().collect::<Vec<_>>();
        match self.path[0].as_str() {
            "crate" => Some(self.path[1..].to_vec()),
            "self" => Some(joined(&self.module, &self.path[1..])),
            "super" => Some(joined(&self.module[..self.module.len().saturating_sub(up)], &self.path[up..])),
            _ => Some(joined(&self.module, &self.path)).filter(|path| is_module(&path[..=self.module.len()])),
        }
    }
}

/// Returns the paths in a source: those of its `use` lines, and all others that begin with `crate`, `self`, `super`,
/// wgpu or a crate of this workspace. `module` is the module of the source.
pub(crate) fn imports(source: &str, module: &[String]) -> Vec<Import> {
    let tokens = tokens(source);
    let mut imports = Vec::new();
    // The open modules within the source, with the depth of their braces.
    let (mut inline, mut depth): (Vec<(String, usize)>, usize) = (Vec::new(), 0);
    let mut i = 0;
    while i < tokens.len() {
        let mut add = |path: &[&str], name: Option<&str>| {
            if !path.is_empty() {
                imports.push(Import {
                    path: path.iter().map(|segment| segment.to_string()).collect(),
                    name: name.map(str::to_string),
                    module: module.iter().chain(inline.iter().map(|(name, _)| name)).cloned().collect(),
                });
            }
        };
        match tokens[i] {
            // `use<…>` lists the captures of a type.
            "use" if tokens.get(i + 1) != Some(&"<") => {
                i = tree(&tokens, i + 1, &[], &mut |path, name| add(path, Some(name)));
                continue;
            }
            start if is_start(start) && is_joined(&tokens, i) && !follows_path(&tokens, i) => {
                let mut path = vec![start];
                while is_joined(&tokens, i) && tokens.get(i + 3).is_some_and(|token| is_word(token)) {
                    path.push(tokens[i + 3]);
                    i += 3;
                }
                add(&path, None);
            }
            "mod" if tokens.get(i + 2) == Some(&"{") => inline.push((tokens[i + 1].to_string(), depth + 1)),
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inline.retain(|(_, opened)| *opened <= depth);
            }
            _ => {}
        }
        i += 1;
    }
    imports
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn is_start(token: &str) -> bool {
    ["crate", "self", "super", "thalweg", "wgpu"].contains(&token) || token.starts_with("thalweg_")
}

/// Returns whether `::` follows.
fn is_joined(tokens: &[&str], i: usize) -> bool {
    tokens.get(i + 1) == Some(&":") && tokens.get(i + 2) == Some(&":")
}

fn follows_path(tokens: &[&str], i: usize) -> bool {
    i >= 2 && tokens[i - 1] == ":" && tokens[i - 2] == ":" || i >= 1 && tokens[i - 1] == "$"
}

/// Reads one tree of a `use` and passes each of its paths on, with its name. Returns the position after it.
fn tree<'a>(tokens: &[&'a str], mut i: usize, before: &[&'a str], found: &mut impl FnMut(&[&'a str], &str)) -> usize {
    let mut path = before.to_vec();
    while let Some(&token) = tokens.get(i) {
        match token {
            "{" => {
                i += 1;
                while tokens.get(i).is_some_and(|token| *token != "}") {
                    i = tree(tokens, i, &path, found);
                    i += usize::from(tokens.get(i) == Some(&","));
                }
                return i + 1;
            }
            ":" => i += 1,
            "," | "}" | ";" => break,
            "as" => {
                found(&path, tokens.get(i + 1).copied().unwrap_or_default());
                return i + 2;
            }
            _ => {
                path.push(token);
                i += 1;
            }
        }
    }
    if path.last() == Some(&"self") {
        path.pop();
    }
    let name = path.last().copied().unwrap_or_default();
    found(&path, name);
    i
}
