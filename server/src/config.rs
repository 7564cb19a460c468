//! What `berth serve` is told: each key as a flag, a variable `BERTH_*` or a line of berth.toml; a flag beats a variable
//! beats the file. A bad value is one error that names its key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use model::network::{Cidr, check_interface};
use model::storage::{check_path, without_slash};

use crate::failure::Failure;
use crate::telemetry::LogFormat;

mod file;
mod public_url;

pub use file::FileConfig;
pub use public_url::PublicUrl;

const DEFAULT_FILE: &str = "/etc/berth/berth.toml";
/// Where the console keeps its run-time files unless something else was asked for.
pub const DEFAULT_RUN_DIR: &str = "/run/berth";
const DEFAULT_STATE_DIR: &str = "/var/lib/berth";
const DEFAULT_LISTEN: &str = "127.0.0.1:8420";
const DEFAULT_ID_POOL: (u32, u32) = (524_288, 1_879_048_191);

/// The flags of `berth serve`. Values stay text here, so that flags, variables and the file are judged by one code.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// Configuration file [default: /etc/berth/berth.toml]
    #[arg(long, env = "BERTH_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where state lives [default: /var/lib/berth]
    #[arg(long, env = "BERTH_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<String>,
    /// Sets this instance apart from others on the same host
    #[arg(long, env = "BERTH_INSTANCE", value_name = "NAME")]
    pub instance: Option<String>,
    /// Address to listen on; may be given several times [default: 127.0.0.1:8420]
    #[arg(long, env = "BERTH_LISTEN", value_name = "ADDR:PORT", value_delimiter = ',')]
    pub listen: Vec<String>,
    /// off, self-signed or files
    #[arg(long, env = "BERTH_TLS", value_name = "MODE")]
    pub tls: Option<String>,
    /// Certificate chain (PEM)
    #[arg(long, env = "BERTH_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// Private key (PEM)
    #[arg(long, env = "BERTH_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<String>,
    /// The address that people use, where it is not the one listened on
    #[arg(long, env = "BERTH_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// Whose X-Forwarded-* headers count; may be given several times
    #[arg(long, env = "BERTH_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',')]
    pub trusted_proxy: Vec<String>,
    /// The default bridge [default: berth0]
    #[arg(long, env = "BERTH_BRIDGE", value_name = "NAME")]
    pub bridge: Option<String>,
    /// Its address and network [default: the first free /22 of 10.213.0.0/16]
    #[arg(long, env = "BERTH_SUBNET", value_name = "CIDR")]
    pub subnet: Option<String>,
    /// User ids for containers [default: 524288-1879048191]
    #[arg(long, env = "BERTH_ID_POOL", value_name = "FIRST-LAST")]
    pub id_pool: Option<String>,
    /// A folder of the host that may come into containers, with what lies below it; may be given several times [default: none]
    #[arg(long, env = "BERTH_MOUNT_ROOT", value_name = "DIR", value_delimiter = ',')]
    pub mount_root: Vec<String>,
    /// Log format: text or json [default: text]
    #[arg(long, env = "BERTH_LOG", value_name = "FORMAT")]
    pub log: Option<String>,
    /// The engine: linux or fake (for tests)
    #[arg(long, hide = true, value_name = "ENGINE")]
    pub engine: Option<String>,
}

/// How connections are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Nobody said: plain on loopback, self-signed elsewhere.
    Automatic,
    Off,
    SelfSigned,
    Files {
        cert: PathBuf,
        key: PathBuf,
    },
}

impl Tls {
    /// Whether this address is served encrypted.
    #[must_use]
    pub fn covers(&self, address: SocketAddr) -> bool {
        match self {
            Self::Automatic => !address.ip().is_loopback(),
            Self::Off => false,
            Self::SelfSigned | Self::Files { .. } => true,
        }
    }
}

/// Which engine carries containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    Linux,
    Fake,
}

/// Everything decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    pub state_dir: PathBuf,
    pub run_dir: PathBuf,
    pub instance: Option<String>,
    pub listen: Vec<SocketAddr>,
    pub tls: Tls,
    pub public_url: Option<PublicUrl>,
    pub trusted_proxies: Vec<Cidr>,
    pub bridge: String,
    pub subnet: Option<Cidr>,
    pub id_pool: (u32, u32),
    /// Folders of the host that may come into containers, with what lies below them.
    pub mount_roots: Vec<String>,
    pub log: LogFormat,
    pub engine: EngineKind,
}

impl ServeConfig {
    /// Reads the file and judges all values together.
    ///
    /// # Errors
    /// Names the key that is wrong, or the file that cannot be read (exit 2).
    pub fn read(args: &ServeArgs, run_dir: Option<&Path>) -> Result<Self, Failure> {
        let file = match &args.config {
            Some(path) => FileConfig::read(path)?,
            None if Path::new(DEFAULT_FILE).exists() => FileConfig::read(Path::new(DEFAULT_FILE))?,
            None => FileConfig::default(),
        };
        Self::decide(args, file, run_dir)
    }

    fn decide(args: &ServeArgs, file: FileConfig, run_dir: Option<&Path>) -> Result<Self, Failure> {
        let text = |flag: &Option<String>, file: Option<String>| flag.clone().or(file);
        let listen = parse_all("listen", &first_given(&args.listen, file.listen, &[DEFAULT_LISTEN]))?;
        let tls = tls(
            text(&args.tls, file.tls),
            text(&args.tls_cert, file.tls_cert),
            text(&args.tls_key, file.tls_key),
        )?;
        let config = Self {
            state_dir: folder("state-dir", text(&args.state_dir, file.state_dir), DEFAULT_STATE_DIR)?,
            run_dir: folder("run-dir", run_dir.map(|dir| dir.display().to_string()).or(file.run_dir), DEFAULT_RUN_DIR)?,
            instance: optional("instance", text(&args.instance, file.instance), |name| {
                name.parse::<model::id::Name>().map(String::from).map_err(|error| error.to_string())
            })?,
            listen,
            tls,
            public_url: optional("public-url", text(&args.public_url, file.public_url), |url| url.parse())?,
            trusted_proxies: parse_all("trusted-proxy", &first_given(&args.trusted_proxy, file.trusted_proxy, &[]))?,
            bridge: key("bridge", check_interface(&text(&args.bridge, file.bridge).unwrap_or_else(|| "berth0".into())))?,
            subnet: optional("subnet", text(&args.subnet, file.subnet), subnet)?,
            id_pool: optional("id-pool", text(&args.id_pool, file.id_pool), id_pool)?.unwrap_or(DEFAULT_ID_POOL),
            mount_roots: key(
                "mount-root",
                first_given(&args.mount_root, file.mount_root, &[])
                    .iter()
                    .map(|root| mount_root(root))
                    .collect(),
            )?,
            log: optional("log", text(&args.log, file.log), |format| format.parse())?.unwrap_or_default(),
            engine: optional("engine", args.engine.clone(), engine)?.unwrap_or(EngineKind::Linux),
        };
        config.check()?;
        Ok(config)
    }

    /// Plain HTTP is for loopback only.
    fn check(&self) -> Result<(), Failure> {
        let open = self.listen.iter().find(|address| !address.ip().is_loopback() && !self.tls.covers(**address));
        match open {
            Some(address) => Err(bad(
                "tls",
                &format!("{address} is no loopback address, and plain HTTP is for loopback only"),
                "use self-signed or files",
            )),
            None => Ok(()),
        }
    }
}

fn bad(key: &str, why: &str, hint: &str) -> Failure {
    Failure::usage(format!("{key} is wrong ({why}; {hint})"))
}

fn key<T>(name: &str, parsed: Result<T, String>) -> Result<T, Failure> {
    parsed.map_err(|why| {
        bad(
            name,
            &why,
            &format!("see --{name}, BERTH_{} or berth.toml", name.replace('-', "_").to_uppercase()),
        )
    })
}

fn optional<T>(name: &str, text: Option<String>, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, Failure> {
    key(name, text.as_deref().map(parse).transpose())
}

fn parse_all<T: std::str::FromStr>(name: &str, texts: &[String]) -> Result<Vec<T>, Failure> {
    let parse = |text: &String| {
        text.parse()
            .map_err(|_| format!("`{text}` is not {}", if name == "listen" { "ADDR:PORT" } else { "ADDR/PREFIX" }))
    };
    key(name, texts.iter().map(parse).collect())
}

fn first_given(flags: &[String], file: Option<Vec<String>>, default: &[&str]) -> Vec<String> {
    if flags.is_empty() {
        file.unwrap_or_else(|| default.iter().map(|&text| text.to_owned()).collect())
    } else {
        flags.to_vec()
    }
}

fn folder(name: &str, text: Option<String>, default: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(text.unwrap_or_else(|| default.to_owned()));
    let judged = if path.is_absolute() {
        Ok(path)
    } else {
        Err(format!("`{}` is not an absolute path", path.display()))
    };
    key(name, judged)
}

fn tls(mode: Option<String>, cert: Option<String>, private: Option<String>) -> Result<Tls, Failure> {
    let files = match (cert, private) {
        (Some(cert), Some(key)) => Some(Tls::Files {
            cert: cert.into(),
            key: key.into(),
        }),
        (None, None) => None,
        (Some(_), None) => return Err(bad("tls-key", "it is missing", "give the private key of tls-cert")),
        (None, Some(_)) => return Err(bad("tls-cert", "it is missing", "give the certificate of tls-key")),
    };
    match (mode.as_deref(), files) {
        (None, None) => Ok(Tls::Automatic),
        (None | Some("files" | "FILES"), Some(files)) => Ok(files),
        (Some("files" | "FILES"), None) => Err(bad("tls-cert", "it is missing", "give tls-cert and tls-key")),
        (Some("off"), None) => Ok(Tls::Off),
        (Some("self-signed"), None) => Ok(Tls::SelfSigned),
        (Some("off" | "self-signed"), Some(_)) => Err(bad("tls", "tls-cert is given too", "use files, or leave tls-cert and tls-key out")),
        (Some(other), _) => Err(bad("tls", &format!("`{other}` is no way to encrypt"), "use off, self-signed or files")),
    }
}

fn subnet(text: &str) -> Result<Cidr, String> {
    let cidr: Cidr = text.parse()?;
    let is_usable = cidr.addr.is_ipv4() && (8..=29).contains(&cidr.prefix) && cidr.network().addr != cidr.addr;
    if is_usable {
        Ok(cidr)
    } else {
        Err(format!(
            "`{text}` is not the bridge's own IPv4 address with a prefix of 8 to 29, such as 10.213.0.1/22"
        ))
    }
}

/// Ids are given out in aligned blocks of 65,536, so the pool must hold at least one.
fn id_pool(text: &str) -> Result<(u32, u32), String> {
    let parsed = text
        .split_once('-')
        .and_then(|(first, last)| Some((first.parse::<u32>().ok()?, last.parse::<u32>().ok()?)));
    let (first, last) = parsed.ok_or_else(|| format!("`{text}` is not FIRST-LAST such as 524288-1879048191"))?;
    let block = first
        .checked_next_multiple_of(65_536)
        .filter(|block| *block >= 65_536 && block.checked_add(65_535).is_some_and(|end| end <= last));
    block
        .map(|_| (first, last))
        .ok_or_else(|| format!("`{text}` does not hold one aligned block of 65536 ids above 65535"))
}

/// One that means what it says for good: what a container renames or links must not change it.
fn mount_root(text: &str) -> Result<String, String> {
    let root = without_slash(text);
    check_path(root)?;
    if root == "/" {
        return Err("`/` would release everything that the host has".into());
    }
    match std::fs::canonicalize(root) {
        Ok(real) if real != Path::new(root) => Err(format!("`{root}` leads through a symbolic link to {}; give that path", real.display())),
        Ok(real) if !real.is_dir() => Err(format!("`{root}` is no folder")),
        // One on a disk that comes later is there when a container needs it, or the container's start says that it is not.
        _ => Ok(root.to_owned()),
    }
}

fn engine(text: &str) -> Result<EngineKind, String> {
    match text {
        "linux" => Ok(EngineKind::Linux),
        "fake" if cfg!(any(debug_assertions, feature = "fake-engine")) => Ok(EngineKind::Fake),
        _ => Err(format!("`{text}` is not an engine of this build")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(args: &ServeArgs, toml: &str) -> Result<ServeConfig, Failure> {
        ServeConfig::decide(args, FileConfig::parse(toml).unwrap(), None)
    }

    #[test]
    fn defaults_are_the_interface() {
        let config = decide(&ServeArgs::default(), "").unwrap();
        assert_eq!(config.state_dir, Path::new("/var/lib/berth"));
        assert_eq!(config.run_dir, Path::new("/run/berth"));
        assert_eq!(config.listen, ["127.0.0.1:8420".parse().unwrap()]);
        assert_eq!(config.id_pool, (524_288, 1_879_048_191));
        assert_eq!((config.bridge.as_str(), config.tls), ("berth0", Tls::Automatic));
    }

    #[test]
    fn a_flag_beats_the_file() {
        let args = ServeArgs {
            bridge: Some("b1".into()),
            ..ServeArgs::default()
        };
        let config = decide(&args, "bridge = \"b2\"\ninstance = \"two\"").unwrap();
        assert_eq!((config.bridge.as_str(), config.instance.as_deref()), ("b1", Some("two")));
    }

    #[test]
    fn no_folder_of_the_host_is_released_unless_somebody_says_so() {
        assert_eq!(decide(&ServeArgs::default(), "").unwrap().mount_roots, Vec::<String>::new());
        let file = "mount-root = [\"/nonexistent/share/\", \"/proc/sys\"]";
        assert_eq!(decide(&ServeArgs::default(), file).unwrap().mount_roots, ["/nonexistent/share", "/proc/sys"]);
        let args = ServeArgs {
            mount_root: vec!["/proc/fs".into()],
            ..ServeArgs::default()
        };
        assert_eq!(decide(&args, file).unwrap().mount_roots, ["/proc/fs"]);
    }

    #[test]
    fn a_bad_value_names_its_key_and_exits_2() {
        for (toml, key) in [
            ("listen = [\"x\"]", "listen"),
            ("listen = [\"0.0.0.0:1\"]\ntls = \"off\"", "tls"),
            ("tls = \"maybe\"", "tls"),
            ("tls-cert = \"/x\"", "tls-key"),
            ("subnet = \"10.0.0.0/22\"", "subnet"),
            ("id-pool = \"5\"", "id-pool"),
            ("id-pool = \"524289-589823\"", "id-pool"),
            ("state-dir = \"here\"", "state-dir"),
            ("bridge = \"../x\"", "bridge"),
            ("instance = \"A\"", "instance"),
            ("public-url = \"ftp://x\"", "public-url"),
            ("trusted-proxy = [\"10.0.0.1\"]", "trusted-proxy"),
            ("log = \"xml\"", "log"),
            ("mount-root = [\"srv\"]", "mount-root"),
            ("mount-root = [\"/\"]", "mount-root"),
            ("mount-root = [\"/srv/../etc\"]", "mount-root"),
            ("mount-root = [\"/proc/self/exe\"]", "mount-root"),
            ("mount-root = [\"/proc/version\"]", "mount-root"),
        ] {
            let failure = decide(&ServeArgs::default(), toml).unwrap_err();
            assert_eq!(failure.code, 2, "{toml}");
            assert!(failure.what.starts_with(&format!("{key} is wrong (")), "{toml}: {}", failure.what);
        }
    }

    #[test]
    fn only_loopback_is_plain_unless_said_otherwise() {
        let (near, far) = ("[::1]:1".parse().unwrap(), "0.0.0.0:1".parse().unwrap());
        assert!(!Tls::Automatic.covers(near) && Tls::Automatic.covers(far));
        assert!(Tls::SelfSigned.covers(near));
    }
}
