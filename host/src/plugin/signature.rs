//! Signatures of plugins: beside `NAME.wasm` lies `NAME.wasm.sig`, an ed25519 signature over the component's bytes by a key that the operator trusts.
//!
//! The file is one line, `PUBLIC-KEY SIGNATURE`, both in hexadecimal. What is signed are the bytes as they are, so other tools can check it.

use super::PluginError;
use super::hex::{self, Hex};
use ed25519_compact::{KeyPair, Seed, Signature};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Largest signature file that is read.
const FILE_MAX_BYTES: u64 = 4096;

/// A key that signatures are checked with; written as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// A key that plugins are signed with; written as 64 hexadecimal digits. Whoever has it can sign.
pub struct SecretKey(KeyPair);

/// A text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has 64 hexadecimal digits")]
pub struct BadKey;

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl FromStr for PublicKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        hex::parse(text).map(Self).ok_or(BadKey)
    }
}

impl FromStr for SecretKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        hex::parse(text.trim()).map(|seed| Self(KeyPair::from_seed(Seed::new(seed)))).ok_or(BadKey)
    }
}

impl SecretKey {
    /// A new one, from the system's randomness.
    pub fn generate() -> io::Result<Self> {
        let mut seed = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut seed)?;
        Ok(Self(KeyPair::from_seed(Seed::new(seed))))
    }

    /// As it is kept in a file.
    pub fn text(&self) -> String {
        format!("{}\n", Hex(&*self.0.sk.seed()))
    }

    /// What others check with.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.pk)
    }

    /// The content of the signature file for a component.
    pub fn sign(&self, component: &[u8]) -> String {
        format!("{} {}\n", self.public(), Hex(&*self.0.sk.sign(component, None)))
    }
}

/// Where the signature of the component at `path` lies.
pub fn signature_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

/// Refuses a component that none of the `trusted` keys has signed. `bytes` is what was read from `path`, and what will be compiled.
pub(super) fn verify(path: &Path, bytes: &[u8], trusted: &[PublicKey]) -> Result<(), PluginError> {
    let file = signature_path(path);
    let text = read(&file).map_err(|error| {
        PluginError::refused(
            format!("trust = \"signed\", and the signature {} cannot be read: {error}", file.display()),
            "get the .sig file from whoever made the plugin, or sign it yourself with `host plugin sign`",
        )
    })?;
    let (key, signature) = parse(&text).ok_or_else(|| {
        PluginError::refused(
            format!("{} is no signature", file.display()),
            "it is one line, PUBLIC-KEY SIGNATURE, as `host plugin sign` writes it",
        )
    })?;
    if !trusted.contains(&key) {
        return Err(PluginError::refused(
            format!("{} is signed by the key {key}, which plugins.toml does not trust", path.display()),
            "add it to trusted_keys if you trust its owner",
        ));
    }
    let key = ed25519_compact::PublicKey::new(key.0);
    key.verify(bytes, &Signature::new(signature)).map_err(|_| {
        PluginError::refused(
            format!("{} does not match its signature: it was changed after it was signed", path.display()),
            "get plugin and .sig file again from where they come from; if they still differ, do not use them",
        )
    })
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn parse(text: &str) -> Option<(PublicKey, [u8; 64])> {
    let (key, signature) = text.trim().split_once(' ')?;
    Some((key.parse().ok()?, hex::parse(signature.trim())?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Scratch;
    use super::*;

    /// The first test vector of RFC 8032, section 7.1: an empty message.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let secret: SecretKey = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60".parse().unwrap();
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        assert_eq!(secret.sign(b""), format!("{public} {signature}\n"));
        assert_eq!(secret.text().parse::<SecretKey>().unwrap().public(), secret.public());
    }

    #[test]
    fn only_what_a_trusted_key_signed_is_taken() {
        let scratch = Scratch::new();
        let (mine, other) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
        let path = scratch.file("plugin.wasm", b"content");
        let check = |bytes: &[u8]| verify(&path, bytes, &[mine.public()]).map_err(|error| error.to_string());
        let refused = |bytes: &[u8], with: &str| {
            let reason = check(bytes).unwrap_err();
            assert!(reason.contains(with), "{reason}");
        };
        refused(b"content", "cannot be read");
        scratch.file("plugin.wasm.sig", b"nonsense");
        refused(b"content", "is no signature");
        scratch.file("plugin.wasm.sig", other.sign(b"content").as_bytes());
        refused(b"content", "plugins.toml does not trust");
        scratch.file("plugin.wasm.sig", mine.sign(b"content").as_bytes());
        assert_eq!(check(b"content"), Ok(()));
        refused(b"Content", "does not match its signature");
    }
}
