//! From an accepted socket to a logged-in user: encryption, the start-up packet, authentication.
//!
//! A client may first ask for encryption (`S` or `N` is answered, `N` always for GSS), then sends its start-up packet, or a cancel request,
//! which is carried out and never answered. Unknown start-up parameters are accepted: drivers send their own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use pgwire::api::auth::sasl::SCRAM_SHA_256_METHOD;
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramSecret, ScramServerAuth, gen_salted_password};
use pgwire::messages::response::{GssEncResponse, SslResponse};
use pgwire::messages::startup::{Authentication, NegotiateProtocolVersion};

use super::Shared;
use super::failure::Failure;
use super::frontend::{Cursor, Input, Malformed, Message, ReadError, startup_parameters};
use super::output::Output;
use super::stream::Stream;

/// How long a client may take to log in.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

const PROTOCOL_3: u32 = 3;
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// Who logged in, and what they asked for.
#[derive(Debug, Default)]
pub(crate) struct Login {
    /// The user's name.
    pub user: String,
    /// The database's name; any name is taken.
    pub database: String,
    /// Settings to make, in order, `options` taken apart.
    pub settings: Vec<(String, String)>,
}

/// A connection that is not yet logged in.
pub(crate) struct Greeting {
    pub stream: Stream,
    pub input: Input,
    pub output: Output,
}

/// Why nobody logged in.
pub(crate) enum Refusal {
    /// The client went away, or this was a cancel request.
    Gone,
    /// The client is told why.
    Failure(Failure),
}

impl From<io::Error> for Refusal {
    fn from(_: io::Error) -> Refusal {
        Refusal::Gone
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal::Failure(failure)
    }
}

impl From<Malformed> for Refusal {
    fn from(e: Malformed) -> Refusal {
        Refusal::Failure(Failure::fatal("08P01", e.0))
    }
}

impl From<ReadError> for Refusal {
    fn from(e: ReadError) -> Refusal {
        match e {
            ReadError::Io(_) => Refusal::Gone,
            ReadError::Malformed(e) => e.into(),
        }
    }
}

impl Greeting {
    pub(crate) fn new(stream: Stream) -> Greeting {
        Greeting { stream, input: Input::default(), output: Output::default() }
    }

    /// Greets the client until it is logged in. On a refusal the stream is still there to tell it so.
    pub(crate) fn login(&mut self, shared: &Shared) -> Result<Login, Refusal> {
        self.stream.socket().set_read_timeout(Some(LOGIN_TIMEOUT))?;
        let login = self.negotiate(shared)?;
        if shared.is_stopping() {
            return Err(Failure::fatal("57P03", "the database system is shutting down").into());
        }
        self.authenticate(shared, &login)?;
        self.stream.socket().set_read_timeout(None)?;
        Ok(login)
    }

    fn negotiate(&mut self, shared: &Shared) -> Result<Login, Refusal> {
        loop {
            let (code, body) = self.input.read_startup(&mut self.stream)?;
            match code {
                SSL_REQUEST => self.answer_ssl(shared)?,
                GSS_REQUEST => {
                    self.output.push(&GssEncResponse::Refuse);
                    self.output.flush(&mut self.stream)?;
                }
                CANCEL_REQUEST => {
                    let mut body = Cursor(body);
                    shared.cancel(body.u32()? as i32, body.u32()?);
                    return Err(Refusal::Gone);
                }
                code if code >> 16 == PROTOCOL_3 => return self.start(code & 0xffff, body),
                code => {
                    let (major, minor) = (code >> 16, code & 0xffff);
                    let message = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0");
                    return Err(Failure::fatal("0A000", message).into());
                }
            }
        }
    }

    fn answer_ssl(&mut self, shared: &Shared) -> Result<(), Refusal> {
        match (&shared.tls, self.stream.is_encrypted()) {
            (Some(config), false) => {
                self.output.push(&SslResponse::Accept);
                self.output.flush(&mut self.stream)?;
                if !self.input.is_empty() {
                    // Bytes sent before the handshake could be somebody else's (CVE-2021-23214).
                    let failure = Failure::fatal("08P01", "received unencrypted data after SSL request");
                    return Err(failure.into());
                }
                let socket = self.stream.socket().try_clone()?;
                self.stream = Stream::Plain(socket).encrypt(Arc::clone(config))?;
            }
            _ => {
                self.output.push(&SslResponse::Refuse);
                self.output.flush(&mut self.stream)?;
            }
        }
        Ok(())
    }

    /// Reads the start-up packet. A newer minor version, or `_pq_.` options, are negotiated down to 3.0 without any.
    fn start(&mut self, minor: u32, body: Bytes) -> Result<Login, Refusal> {
        let parameters = startup_parameters(body)?;
        let unknown: Vec<String> =
            parameters.iter().filter(|(name, _)| name.starts_with("_pq_.")).map(|(name, _)| name.clone()).collect();
        if minor > 0 || !unknown.is_empty() {
            self.output.push(&NegotiateProtocolVersion::new((PROTOCOL_3 << 16) as i32, unknown));
        }
        let mut login = Login::default();
        for (name, value) in parameters {
            match name.as_str() {
                "user" => login.user = value,
                "database" => login.database = value,
                "options" => login.settings.extend(parse_options(&value)),
                "replication" if !matches!(value.as_str(), "false" | "off" | "no" | "0") => {
                    return Err(Failure::fatal("0A000", "replication connections are not supported").into());
                }
                "replication" => {}
                name if name.starts_with("_pq_.") => {}
                _ => login.settings.push((name, value)),
            }
        }
        if login.user.is_empty() {
            return Err(Failure::fatal("28000", "no PostgreSQL user name specified in startup packet").into());
        }
        if login.database.is_empty() {
            login.database = login.user.clone();
        }
        Ok(login)
    }

    /// SCRAM-SHA-256 against the configured password; without one everybody is trusted (and only loopback is listened on).
    fn authenticate(&mut self, shared: &Shared, login: &Login) -> Result<(), Refusal> {
        if let Some(password) = &shared.password {
            let denied = || {
                let message = format!("password authentication failed for user \"{}\"", login.user);
                Refusal::Failure(Failure::fatal("28P01", message))
            };
            self.ask(&Authentication::SASL(vec![SCRAM_SHA_256_METHOD.into()]))?;
            let first = sasl_initial_response(self.answer()?)?;
            let (challenge, waiting) = ScramServerAuth::new()
                .on_client_first_message_with_secret(&first, password.secret())
                .map_err(|e| Refusal::Failure(Failure::fatal("08P01", e.to_string())))?;
            self.ask(&Authentication::SASLContinue(challenge.into()))?;
            let proof = self.answer()?;
            let verified = waiting.on_client_final_message(&proof).map_err(|_| denied())?;
            self.output.push(&Authentication::SASLFinal(verified.into()));
        }
        self.output.push(&Authentication::Ok);
        Ok(())
    }

    fn ask(&mut self, request: &Authentication) -> io::Result<()> {
        self.output.push(request);
        self.output.flush(&mut self.stream)
    }

    fn answer(&mut self) -> Result<Bytes, Refusal> {
        match Message::decode(self.input.read_frame(&mut self.stream)?)? {
            Message::Password(bytes) => Ok(bytes),
            Message::Terminate => Err(Refusal::Gone),
            _ => Err(Failure::fatal("08P01", "expected an answer to the authentication request").into()),
        }
    }
}

/// The mechanism's name, a length, and the client-first message.
fn sasl_initial_response(bytes: Bytes) -> Result<Bytes, Refusal> {
    let mut body = Cursor(bytes);
    let mechanism = body.string()?;
    if mechanism != SCRAM_SHA_256_METHOD {
        let message = format!("client selected an invalid SASL authentication mechanism \"{mechanism}\"");
        return Err(Failure::fatal("08P01", message).into());
    }
    let length = body.u32()? as usize;
    match body.0.remaining() == length {
        true => Ok(body.0),
        false => Err(Malformed("invalid SASL response".into()).into()),
    }
}

/// The password, only as what SCRAM needs to verify it.
pub(crate) struct Verifier {
    salt: Vec<u8>,
    salted: Vec<u8>,
}

impl Verifier {
    pub(crate) fn new(password: &str) -> Verifier {
        let salt = rand::random::<[u8; 16]>().to_vec();
        let salted = gen_salted_password(password, &salt, SCRAM_ITERATIONS);
        Verifier { salt, salted }
    }

    fn secret(&self) -> ScramSecret {
        ScramSecret::verifier_from_salted_password(self.salt.clone(), self.salted.clone(), SCRAM_ITERATIONS)
    }
}

/// Takes apart the `options` parameter, which is written like a command line: `-c name=value`, `-cname=value` or `--name=value`, where a
/// backslash makes the next character ordinary. Dashes in a long option's name stand for underscores.
fn parse_options(options: &str) -> Vec<(String, String)> {
    let mut words = vec![];
    let mut word: Option<String> = None;
    let mut chars = options.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);

    let mut settings = vec![];
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let setting = match word.as_str() {
            "-c" => words.next(),
            other => other.strip_prefix("--").or(other.strip_prefix("-c")).map(String::from),
        };
        if let Some((name, value)) = setting.as_deref().and_then(|s| s.split_once('=')) {
            settings.push((name.replace('-', "_"), value.to_string()));
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_apart_like_a_command_line() {
        let options = r"-c search_path=a\ b,public --statement-timeout=5s -cgeqo=off -x";
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        assert_eq!(
            parse_options(options),
            [pair("search_path", "a b,public"), pair("statement_timeout", "5s"), pair("geqo", "off")]
        );
    }
}
