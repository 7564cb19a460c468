//! A web server of the test's own. What it answers at a path is a script: each request takes the next step, the last one
//! stays. It is plain HTTP/1.1 written by hand, because it must be able to lie.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// How one request is answered.
#[derive(Clone, Debug)]
pub enum Mode {
    Whole,
    /// The head promises everything, the connection ends after so many bytes.
    Cut(usize),
    /// So many bytes, and the rest after [`Server::release`].
    Held(usize),
    /// So many bytes for each permit of [`Server::let_pass`].
    Gated(usize),
    /// One byte, a pause, one byte ...
    Drip(Duration),
    /// This `Content-Length`, and as many bytes as there are.
    Length(u64),
    /// No length and no end.
    Endless,
    Status(u16),
    Redirect(String),
}

/// One answer: what, from which bytes, and whether `Range` is understood.
#[derive(Clone, Debug)]
pub struct Answer {
    pub mode: Mode,
    pub body: Arc<Vec<u8>>,
    pub etag: String,
    pub ranges: Ranges,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    Understood,
    /// Every answer begins at the first byte.
    Ignored,
    /// The rest is sent even when the file is another than `If-Range` says.
    Careless,
}

impl Answer {
    pub fn whole(body: &[u8]) -> Self {
        Self {
            mode: Mode::Whole,
            body: Arc::new(body.to_vec()),
            etag: "\"first\"".into(),
            ranges: Ranges::Understood,
        }
    }

    pub fn with(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    pub fn etag(self, etag: &str) -> Self {
        Self { etag: etag.into(), ..self }
    }

    pub fn ranges(self, ranges: Ranges) -> Self {
        Self { ranges, ..self }
    }
}

/// What somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    pub range: Option<String>,
    pub if_range: Option<String>,
}

#[derive(Debug)]
struct Site {
    scripts: Mutex<BTreeMap<String, VecDeque<Answer>>>,
    asked: Mutex<Vec<Asked>>,
    released: watch::Sender<bool>,
    gate: Semaphore,
}

#[derive(Debug)]
pub struct Server {
    site: Arc<Site>,
    port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = Arc::new(Site {
            scripts: Mutex::default(),
            asked: Mutex::default(),
            released: watch::Sender::new(false),
            gate: Semaphore::new(0),
        });
        let port = listener.local_addr().unwrap().port();
        let serving = Arc::clone(&site);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let site = Arc::clone(&serving);
                // A client that goes away in the middle is what half of these tests are about.
                tokio::spawn(async move { drop(site.answer(stream).await) });
            }
        });
        Self { site, port, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// From now on the path answers by this script.
    pub fn serve(&self, path: &str, script: impl IntoIterator<Item = Answer>) {
        self.site.scripts.lock().unwrap().insert(format!("/{path}"), script.into_iter().collect());
    }

    pub fn remove(&self, path: &str) {
        self.site.scripts.lock().unwrap().remove(&format!("/{path}"));
    }

    /// Every request for a path, in order.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.site.asked();
        asked.iter().filter(|asked| asked.path == format!("/{path}")).cloned().collect()
    }

    /// What is held goes on, now and later.
    pub fn release(&self) {
        self.site.released.send_replace(true);
    }

    pub fn let_pass(&self) {
        self.site.gate.add_permits(1);
    }
}

impl Site {
    fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap()
    }

    fn next(&self, path: &str) -> Option<Answer> {
        let mut scripts = self.scripts.lock().unwrap();
        let script = scripts.get_mut(path)?;
        if script.len() > 1 { script.pop_front() } else { script.front().cloned() }
    }

    async fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let Some(asked) = read_request(&mut stream).await? else { return Ok(()) };
        self.asked().push(asked.clone());
        let Some(answer) = self.next(&asked.path) else {
            return send(&mut stream, "404 Not Found", &["Content-Length: 0".into()]).await;
        };
        match &answer.mode {
            Mode::Status(status) => return send(&mut stream, &format!("{status} As Scripted"), &["Content-Length: 0".into()]).await,
            Mode::Redirect(to) => {
                let headers = [format!("Location: {to}"), "Content-Length: 0".into()];
                return send(&mut stream, "302 Found", &headers).await;
            }
            _ => {}
        }
        let start = start_of(&asked, &answer);
        let rest = &answer.body[start.unwrap_or(0)..];
        let mut headers = vec![format!("ETag: {}", answer.etag)];
        match answer.mode {
            Mode::Endless => {}
            Mode::Length(length) => headers.push(format!("Content-Length: {length}")),
            _ => headers.push(format!("Content-Length: {}", rest.len())),
        }
        let status = match start {
            None => "200 OK",
            Some(start) => {
                headers.push(format!("Content-Range: bytes {start}-{}/{}", answer.body.len() - 1, answer.body.len()));
                "206 Partial Content"
            }
        };
        send(&mut stream, status, &headers).await?;
        self.body(&mut stream, &answer.mode, rest).await
    }

    async fn body(&self, stream: &mut TcpStream, mode: &Mode, rest: &[u8]) -> std::io::Result<()> {
        match mode {
            Mode::Cut(after) => stream.write_all(&rest[..*after.min(&rest.len())]).await,
            Mode::Held(after) => {
                let (now, later) = rest.split_at(*after.min(&rest.len()));
                stream.write_all(now).await?;
                drop(self.released.subscribe().wait_for(|released| *released).await);
                stream.write_all(later).await
            }
            Mode::Gated(size) => {
                for chunk in rest.chunks(*size) {
                    self.gate.acquire().await.unwrap().forget();
                    stream.write_all(chunk).await?;
                }
                Ok(())
            }
            Mode::Drip(pause) => {
                for byte in rest.chunks(1) {
                    stream.write_all(byte).await?;
                    // The clock of these tests is paused: nobody waits for this.
                    tokio::time::sleep(*pause).await;
                }
                Ok(())
            }
            Mode::Endless => loop {
                stream.write_all(&[7; 1 << 16]).await?;
            },
            _ => stream.write_all(rest).await,
        }
    }
}

/// Where the answer begins, if not at the first byte.
fn start_of(asked: &Asked, answer: &Answer) -> Option<usize> {
    let start: usize = asked.range.as_ref()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()?;
    let is_same = answer.ranges == Ranges::Careless || asked.if_range.as_ref().is_none_or(|tag| *tag == answer.etag);
    (answer.ranges != Ranges::Ignored && is_same && start < answer.body.len()).then_some(start)
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<Option<Asked>> {
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await? {
            0 => return Ok(None),
            got => head.extend_from_slice(&buffer[..got]),
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let header = |name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.to_owned())
    };
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    Ok(Some(Asked {
        path,
        range: header("range"),
        if_range: header("if-range"),
    }))
}

async fn send(stream: &mut TcpStream, status: &str, headers: &[String]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{}\r\n\r\n", headers.join("\r\n"));
    stream.write_all(head.as_bytes()).await
}
