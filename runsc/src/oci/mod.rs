//! `config.json`: read, checked, and turned into what the sandbox is made from.
//!
//! Unknown fields are ignored, as the specification asks. A wrong type names the field. A field that protects
//! something and is not honoured is an error; one that does not is a warning, said once (see [`check`]).

pub(crate) mod check;
pub(crate) mod identity;
pub(crate) mod mounts;
pub(crate) mod plan;
pub(crate) mod process;
pub(crate) mod seccomp;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use crate::error::{Context as _, Result};
use crate::fail;

/// A bundle on disk.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Its directory, absolute.
    pub(crate) directory: PathBuf,
    /// The root filesystem's directory, or the file of an EROFS image, absolute.
    pub(crate) rootfs: PathBuf,
    /// Its configuration.
    pub(crate) spec: Spec,
}

impl Bundle {
    /// Reads and checks a bundle.
    pub(crate) fn load(directory: &Path) -> Result<Self> {
        let directory = fs::canonicalize(directory).context(|| {
            format!("cannot find the bundle {} (--bundle names its directory)", directory.display())
        })?;
        let path = directory.join("config.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return fail!(
                    "{} does not exist: `runsc spec` in the bundle's directory writes one",
                    path.display()
                );
            }
            Err(error) => return Err(error).context(|| format!("cannot read {}", path.display())),
        };
        let spec = parse(&text).context(|| path.display().to_string())?;
        check::check(&spec).context(|| path.display().to_string())?;
        let rootfs = match image(&directory, &spec)? {
            Some(image) => image,
            None => rootfs(&directory, &spec)?,
        };
        Ok(Self { directory, rootfs, spec })
    }
}

/// Parses `config.json`, or the process of `exec --process`.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        let cause = error.into_inner();
        let place = if field == "." { String::new() } else { format!("field {field}: ") };
        crate::error::Failure::new(format!("{place}{cause}"))
    })?;
    json.end().context(|| "after the end of the object")?;
    Ok(value)
}

/// Annotations that name an image in the place of the root's directory; the second form is what engines have.
const ROOTFS: [&str; 2] = ["dev.chitin.rootfs", "dev.gvisor.spec.rootfs"];

/// The image that annotations name.
fn image(bundle: &Path, spec: &Spec) -> Result<Option<PathBuf>> {
    let annotations = spec.annotations().clone().unwrap_or_default();
    for prefix in ROOTFS {
        let Some(source) = annotations.get(&format!("{prefix}.source")) else { continue };
        match annotations.get(&format!("{prefix}.type")).map(String::as_str) {
            None | Some("erofs") => {}
            Some(other) => return fail!("annotation {prefix}.type: {other:?} is not erofs"),
        }
        let path = bundle.join(source);
        let describe = || format!("cannot find {} (annotation {prefix}.source)", path.display());
        let resolved = fs::canonicalize(&path).context(describe)?;
        if !resolved.is_file() {
            return fail!("{} is not a file (annotation {prefix}.source)", resolved.display());
        }
        return Ok(Some(resolved));
    }
    Ok(None)
}

fn rootfs(bundle: &Path, spec: &Spec) -> Result<PathBuf> {
    let Some(root) = spec.root() else {
        return fail!(
            "{}: field root is missing: it names the root filesystem",
            bundle.join("config.json").display()
        );
    };
    let path = bundle.join(root.path());
    let resolved = fs::canonicalize(&path).context(|| {
        format!(
            "cannot find the root filesystem {} (field root.path of config.json)",
            path.display()
        )
    })?;
    if !resolved.is_dir() && !resolved.is_file() {
        return fail!(
            "the root filesystem {} is neither a directory nor an image (field root.path of config.json)",
            path.display()
        );
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        parse::<Spec>(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn wrong_types_name_the_field() {
        let text = r#"{"ociVersion":"1.0.2","process":{"cwd":"/","user":{"uid":"root","gid":0},"args":["sh"]}}"#;
        assert!(
            error_of(text).starts_with("field process.user.uid: invalid type"),
            "{}",
            error_of(text)
        );
        assert!(error_of(r#"{"mounts":[{"destination":3}]}"#).contains("mounts[0].destination"));
        assert!(error_of("{").contains("EOF while parsing"));
        assert!(error_of("{} x").contains("after the end"));
    }

    /// Whatever a configuration says, it is refused or converted.
    #[test]
    fn hostile_configurations() {
        use crate::sandbox::options::{FileAccess, Options, Patch, PlatformName};
        let options = Options {
            platform: PlatformName::default(),
            network: None,
            directfs: true,
            file_access: FileAccess::Exclusive,
            file_access_mounts: FileAccess::Shared,
            strace: false,
            patch: Patch::default(),
        };
        let samples = [
            r#"{"ociVersion":"1.2.0","process":{"terminal":true,"consoleSize":{"height":25,"width":80},
            "user":{"uid":0,"gid":0,"umask":18,"additionalGids":[5,6]},"args":["sh","-c","x"],"env":["A=b"],
            "cwd":"/","noNewPrivileges":true,"oomScoreAdj":100,"rlimits":[{"type":"RLIMIT_NOFILE",
            "soft":1024,"hard":4096}],"capabilities":{"bounding":["CAP_KILL"],"ambient":["CAP_CHOWN"]}},
            "root":{"path":"rootfs","readonly":true},"hostname":"h","mounts":[{"destination":"/proc",
            "type":"proc","source":"proc"},{"destination":"/tmp","type":"tmpfs","source":"tmpfs",
            "options":["nosuid","rslave","mode=1777"]},{"destination":"/b","type":"bind","source":"b",
            "options":["rbind","ro"]}]}"#,
            r#"{"ociVersion":"1.0.2","process":{"user":{"uid":1,"gid":1},"args":["x"],"cwd":"/"},
            "linux":{"uidMappings":[{"containerID":0,"hostID":1000,"size":4294967295}],"gidMappings":
            [{"containerID":0,"hostID":1000,"size":1}],"devices":[{"path":"/dev/x","type":"c","major":1,
            "minor":3,"fileMode":438,"uid":0,"gid":0}],"namespaces":[{"type":"pid"},{"type":"mount"}],
            "sysctl":{"kernel.hostname":"x"},"maskedPaths":["/a"],"readonlyPaths":["/b"],
            "rootfsPropagation":"rslave"}}"#,
            r#"{"ociVersion":"1.0.2","process":{"user":{"uid":1,"gid":1},"args":["x"],"cwd":"/"},
            "linux":{"seccomp":{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":
            ["SCMP_ARCH_X86_64"],"syscalls":[{"names":["read","write","clone3"],"action":"SCMP_ACT_ALLOW"},
            {"names":["personality","socket"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"args":[{"index":0,
            "value":18446744073709551615,"valueTwo":255,"op":"SCMP_CMP_MASKED_EQ"},{"index":5,"value":4,
            "op":"SCMP_CMP_GE"}]}]}}}"#,
        ];
        let samples = samples.map(|text| text.as_bytes().to_vec());
        for sample in &samples {
            let spec = parse::<Spec>(sample).expect("a valid sample");
            plan::convert(&spec, Path::new("/b"), Path::new("/r"), options)
                .expect("a valid sample");
        }
        chitin_fuzz::fuzz(&samples, |text| {
            let Ok(spec) = parse::<Spec>(text) else { return };
            if check::check(&spec).is_ok() {
                let _ = plan::convert(&spec, Path::new("/b"), Path::new("/r"), options);
            }
        });
    }

    #[test]
    fn unknown_fields_are_ignored() {
        assert!(parse::<Spec>(br#"{"ociVersion":"1.9.0","novelty":{"a":1}}"#).is_ok());
    }
}
