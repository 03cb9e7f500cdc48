//! Real connections on loopback.

use std::io::Read;
use std::sync::Mutex;

use super::*;
use crate::metrics::CoreCounts;

#[derive(Debug)]
struct Health {
    phase: Mutex<Phase>,
    metrics: Arc<NodeMetrics>,
}

impl Health {
    fn new(metrics: Arc<NodeMetrics>) -> Arc<Self> {
        Arc::new(Self { phase: Mutex::new(Phase::Loading), metrics })
    }

    fn set(&self, phase: Phase) {
        *self.phase.lock().unwrap() = phase;
    }
}

impl Status for Health {
    fn phase(&self) -> Phase {
        *self.phase.lock().unwrap()
    }

    fn metrics(&self) -> &Arc<NodeMetrics> {
        &self.metrics
    }

    fn loaded_share(&self) -> f64 {
        0.459
    }
}

fn start() -> (Arc<NodeMetrics>, Arc<Health>, HttpServer) {
    let metrics = NodeMetrics::new(2);
    let health = Health::new(Arc::clone(&metrics));
    let server = HttpServer::start("127.0.0.1:0".parse().unwrap(), Arc::clone(&health)).unwrap();
    (metrics, health, server)
}

fn send(server: &HttpServer, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(server: &HttpServer, path: &str) -> String {
    send(server, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

fn status(answer: &str) -> &str {
    &answer[9..12]
}

#[test]
fn health_follows_the_phase() {
    let (metrics, health, server) = start();
    assert_eq!(status(&get(&server, "/health/live")), "200");
    let loading = get(&server, "/health/ready");
    assert_eq!(status(&loading), "503");
    assert!(loading.ends_with("\r\n\r\nloading: 45 % done\n"));
    metrics.beat(0);
    metrics.beat(1);
    health.set(Phase::Ready);
    assert!(get(&server, "/health/ready").ends_with("\r\n\r\nok\n"));
    let mut counts = CoreCounts::new();
    counts.set(Metric::ReadOnly, 1);
    metrics.cores()[1].publish(&counts);
    let read_only = get(&server, "/health/ready");
    assert!(status(&read_only) == "503" && read_only.contains("read-only: core 1"));
    assert_eq!(status(&get(&server, "/health/live")), "200");
    health.set(Phase::Draining);
    assert!(get(&server, "/health/ready").contains("draining"));
    server.stop();
}

#[test]
fn a_silent_core_is_not_live() {
    let metrics = NodeMetrics::started_ago(2, Duration::from_secs(6));
    let health = Health::new(Arc::clone(&metrics));
    let server = HttpServer::start("127.0.0.1:0".parse().unwrap(), Arc::clone(&health)).unwrap();
    assert_eq!(live(&*health), Ok(()), "a core that loads need not turn");
    health.set(Phase::Ready);
    let answer = get(&server, "/health/live");
    assert!(status(&answer) == "503" && answer.contains("core 0 has not turned for"), "{answer}");
    assert!(ready(&*health).is_err());
    metrics.beat(0);
    metrics.beat(1);
    assert_eq!(live(&*health), Ok(()));
}

#[test]
fn metrics_and_refusals() {
    let (_, _, server) = start();
    let metrics = get(&server, "/metrics?x=y");
    assert!(status(&metrics) == "200" && metrics.ends_with("# EOF\n") && metrics.contains("openmetrics-text"));
    let head = send(&server, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(status(&head) == "200" && head.ends_with("\r\n\r\n"));
    assert_eq!(status(&get(&server, "/")), "404");
    let post = send(&server, "POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    assert!(status(&post) == "405" && post.contains("Allow: GET, HEAD"));
    assert_eq!(status(&send(&server, "nonsense\r\n\r\n")), "400");
}

#[test]
fn large_and_slow_requests_are_cut_off() {
    let (_, _, server) = start();
    let large = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(8 * 1024 - 19));
    assert_eq!(large.len(), 8 * 1024);
    assert_eq!(status(&send(&server, &large)), "431");
    let begun = Instant::now();
    assert_eq!(status(&send(&server, "GET / HTT")), "408");
    assert!(begun.elapsed() < EXCHANGE_MAX + Duration::from_secs(1));
}

#[test]
fn connections_are_bounded_and_stopping_waits_for_them() {
    let (_, _, server) = start();
    let idle: Vec<TcpStream> = (0..CONNECTIONS_MAX).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    thread::sleep(Duration::from_millis(200));
    let mut refused = TcpStream::connect(server.address()).unwrap();
    let mut answer = String::new();
    refused.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("too many connections"));
    let address = server.address();
    let begun = Instant::now();
    server.stop();
    assert!(begun.elapsed() < EXCHANGE_MAX + Duration::from_secs(1));
    drop(idle);
    assert!(TcpStream::connect(address).is_err());
}
