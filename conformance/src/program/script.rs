//! Scripts: where they lie and what they need.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One script of the suite.
#[derive(Clone, Debug)]
pub struct Script {
    /// Group and name, such as `shell/pipes`.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Programs (by name or path) that must exist; `root` stands for user 0.
    pub needs: Vec<String>,
    /// Whether it takes more than a few seconds natively.
    pub slow: bool,
}

impl Script {
    fn read(path: &Path, group: &str) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let head = text.lines().take_while(|line| line.starts_with('#'));
        let needs = head.clone().filter_map(|line| line.strip_prefix("# needs:"));
        let needs = needs.flat_map(str::split_whitespace).map(str::to_owned).collect();
        let slow = head.clone().any(|line| line.trim() == "# slow");
        Ok(Self { name: format!("{group}/{stem}"), path: path.to_owned(), needs, slow, text })
    }

    /// The first need that this machine does not meet.
    pub fn missing(&self) -> Option<&str> {
        self.needs.iter().map(String::as_str).find(|need| !is_met(need))
    }
}

fn is_met(need: &str) -> bool {
    match need {
        "root" => rustix::process::geteuid().is_root(),
        path if path.starts_with('/') => Path::new(path).exists(),
        program => search_path().iter().any(|directory| directory.join(program).exists()),
    }
}

fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// All scripts below a directory with one folder per group, sorted by name.
///
/// # Errors
/// Those of reading the directory and the scripts.
pub fn load_all(directory: &Path) -> io::Result<Vec<Script>> {
    let mut scripts = Vec::new();
    for group in fs::read_dir(directory)? {
        let group = group?;
        let name = group.file_name().to_string_lossy().into_owned();
        for entry in fs::read_dir(group.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "sh") {
                scripts.push(Script::read(&path, &name)?);
            }
        }
    }
    scripts.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(scripts)
}
