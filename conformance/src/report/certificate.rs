//! The certificate: which plugin passed which lists under which host, in a form that a third party can check.
//!
//! It is bound to the bytes of the plugin, to the exact lists of cases and to the ABI; its own digest shows whether somebody changed it
//! afterwards. It is no signature: who does not trust the sender runs the cases again (`host conformance verify --rerun`).

use super::{Counts, HostFacts, ProfileResult, Report, Settings, Subject};
use crate::Profile;
use crate::profile::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Schema of `certificate.json`.
pub(super) const CERTIFICATE_SCHEMA: &str = "sunmao-conformance-certificate/1";

/// What a plugin is certified for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// [`CERTIFICATE_SCHEMA`].
    pub schema: String,
    /// The plugin.
    pub subject: Subject,
    /// The host that ran it.
    pub host: HostFacts,
    /// How.
    pub settings: Settings,
    /// The profiles, with the digests of their lists.
    pub profiles: Vec<ProfileResult>,
    /// Cases by verdict.
    pub counts: Counts,
    /// What native fast paths change; none: it was not looked at.
    pub fast_paths: Option<FastPathDifference>,
    /// SHA-256 of `report.json`.
    pub report_sha256: String,
    /// SHA-256 of this certificate with this field empty.
    pub digest: String,
}

/// Verdicts with native fast paths beside those without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FastPathDifference {
    /// Cases that were run both ways.
    pub cases: usize,
    /// Those of another verdict, as `name: off -> on`.
    pub differing: Vec<String>,
}

/// Why a certificate is not good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// No certificate at all.
    #[error("this is no certificate: {0}")]
    Unreadable(String),
    /// Of another schema.
    #[error("the certificate has schema `{0}`, this host reads `{CERTIFICATE_SCHEMA}`")]
    Schema(String),
    /// Changed after it was written.
    #[error("the certificate was changed: its content has digest {found}, it says {said}")]
    Changed {
        /// What it has.
        found: String,
        /// What it says.
        said: String,
    },
    /// Of another plugin.
    #[error("the certificate is of a plugin with SHA-256 {said}, this one has {found}")]
    OtherPlugin {
        /// What this plugin has.
        found: String,
        /// What it says.
        said: String,
    },
    /// This host's list is another one.
    #[error(
        "profile {profile}: the certificate is about a list of {said} cases that is not the list of this host ({found} cases)"
    )]
    OtherList {
        /// The profile.
        profile: String,
        /// Cases of this host's list.
        found: usize,
        /// Cases that it says.
        said: usize,
    },
    /// It does not say that the plugin is good.
    #[error("{0}")]
    NotMet(String),
}

impl Certificate {
    /// Of a run. `report_json` is the report as it was written.
    pub fn of(report: &Report, report_json: &str, fast_paths: Option<FastPathDifference>) -> Self {
        let mut certificate = Self {
            schema: CERTIFICATE_SCHEMA.to_owned(),
            subject: report.subject.clone(),
            host: report.host.clone(),
            settings: report.settings.clone(),
            profiles: report.profiles.clone(),
            counts: report.counts,
            fast_paths,
            report_sha256: hex(&Sha256::digest(report_json.as_bytes())),
            digest: String::new(),
        };
        certificate.digest = certificate.own_digest();
        certificate
    }

    /// `certificate.json`.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers, texts and lists have a JSON form") + "\n"
    }

    /// Reads one and checks what can be checked without the plugin: that nobody changed it, that its lists are those of this host, and that
    /// it says that every case of them passed. `names` answers with the cases of a profile that has no list of its own.
    pub fn read(text: &str, names: impl Fn(&Profile) -> Vec<String>) -> Result<Self, CertificateError> {
        let certificate: Certificate =
            serde_json::from_str(text).map_err(|error| CertificateError::Unreadable(error.to_string()))?;
        if certificate.schema != CERTIFICATE_SCHEMA {
            return Err(CertificateError::Schema(certificate.schema));
        }
        let found = certificate.own_digest();
        if found != certificate.digest {
            return Err(CertificateError::Changed { found, said: certificate.digest });
        }
        if certificate.profiles.is_empty() {
            return Err(CertificateError::NotMet("the certificate names no profile".to_owned()));
        }
        for result in &certificate.profiles {
            certificate.check_profile(result, &names)?;
        }
        let counts = &certificate.counts;
        let failures = counts.wrong + counts.broken_promise + counts.timeout + counts.crash;
        if failures > 0 {
            return Err(CertificateError::NotMet(format!("the certificate counts {failures} failures")));
        }
        Ok(certificate)
    }

    /// Whether it is about the plugin with this SHA-256.
    pub fn check_plugin(&self, sha256: &str) -> Result<(), CertificateError> {
        if self.subject.sha256 == sha256 {
            return Ok(());
        }
        Err(CertificateError::OtherPlugin { found: sha256.to_owned(), said: self.subject.sha256.clone() })
    }

    fn check_profile(
        &self,
        result: &ProfileResult,
        names: impl Fn(&Profile) -> Vec<String>,
    ) -> Result<(), CertificateError> {
        let profile = Profile::named(&result.name)
            .ok_or_else(|| CertificateError::NotMet(format!("this host knows no profile `{}`", result.name)))?;
        let names = names(&profile);
        let digest = Profile::digest(names.iter().map(String::as_str));
        if digest != result.list_sha256 || names.len() != result.cases {
            let profile = result.name.clone();
            return Err(CertificateError::OtherList { profile, found: names.len(), said: result.cases });
        }
        if !result.met || result.passed != result.cases {
            return Err(CertificateError::NotMet(format!(
                "profile {} is not met: {} of {} cases passed",
                result.name, result.passed, result.cases
            )));
        }
        Ok(())
    }

    fn own_digest(&self) -> String {
        let without = Self { digest: String::new(), ..self.clone() };
        let text = serde_json::to_vec(&without).expect("numbers, texts and lists have a JSON form");
        hex(&Sha256::digest(&text))
    }
}
