//! The arithmetic behind JSON Web Tokens, from the library that also does TLS. Tokens are only checked here, never made.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result, new_error};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes this the arithmetic of the process, unless a program that embeds Tidegate chose another before.
pub fn install() {
    let _ = PROVIDER.install_default();
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(new_error(ErrorKind::UnsupportedAlgorithm))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(new_error(ErrorKind::InvalidKeyFormat));
    }
    let kind = match algorithm {
        Algorithm::HS256 => Kind::Secret(hmac::Key::new(hmac::HMAC_SHA256, key.try_get_as_bytes()?)),
        Algorithm::RS256 => rsa(&RSA_PKCS1_2048_8192_SHA256, key)?,
        Algorithm::RS384 => rsa(&RSA_PKCS1_2048_8192_SHA384, key)?,
        Algorithm::RS512 => rsa(&RSA_PKCS1_2048_8192_SHA512, key)?,
        Algorithm::PS256 => rsa(&RSA_PSS_2048_8192_SHA256, key)?,
        Algorithm::ES256 => public_key(&ECDSA_P256_SHA256_FIXED, key)?,
        Algorithm::ES384 => public_key(&ECDSA_P384_SHA384_FIXED, key)?,
        Algorithm::EdDSA => public_key(&ED25519, key)?,
        _ => return Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    };
    Ok(Box::new(RingVerifier { algorithm: *algorithm, kind }))
}

fn public_key(scheme: &'static dyn VerificationAlgorithm, key: &DecodingKey) -> Result<Kind> {
    Ok(Kind::PublicKey(UnparsedPublicKey::new(scheme, key.try_get_as_bytes()?.to_vec())))
}

/// The key of RSA, as a PEM file or a set of keys has it.
fn rsa(scheme: &'static RsaParameters, key: &DecodingKey) -> Result<Kind> {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            Ok(Kind::RsaNumbers { scheme, numbers: RsaPublicKeyComponents { n: n.clone(), e: e.clone() } })
        }
        _ => public_key(scheme, key),
    }
}

struct RingVerifier {
    algorithm: Algorithm,
    kind: Kind,
}

enum Kind {
    Secret(hmac::Key),
    PublicKey(UnparsedPublicKey<Vec<u8>>),
    RsaNumbers { scheme: &'static RsaParameters, numbers: RsaPublicKeyComponents<Vec<u8>> },
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        let verified = match &self.kind {
            Kind::Secret(key) => hmac::verify(key, message, signature),
            Kind::PublicKey(key) => key.verify(message, signature),
            Kind::RsaNumbers { scheme, numbers } => numbers.verify(scheme, message, signature),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
