// The filters of this folder in Rust, with the proxy-wasm crate. The plugin's configuration says which one.
use proxy_wasm::traits::{Context, HttpContext, RootContext, StreamContext};
use proxy_wasm::types::{Action, Bytes, ContextType, LogLevel, MetricType, Status};
use std::time::Duration;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::new(Root { which: String::new(), queue: 0, metrics: [0; 3] }));
}}

struct Root {
    which: String,
    queue: u32,
    metrics: [u32; 3],
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        self.which = String::from_utf8(self.get_plugin_configuration().unwrap_or_default()).unwrap();
        match self.which.as_str() {
            "headers" | "body" | "callout" | "shared" | "properties" | "tcp" => {}
            "queue" => self.queue = self.register_shared_queue("lines"),
            "metrics" => {
                self.metrics = [
                    proxy_wasm::hostcalls::define_metric(MetricType::Counter, "tool_requests").unwrap(),
                    proxy_wasm::hostcalls::define_metric(MetricType::Gauge, "tool_open").unwrap(),
                    proxy_wasm::hostcalls::define_metric(MetricType::Histogram, "tool_sizes").unwrap(),
                ]
            }
            other => {
                log::error!("no filter is called {}", other);
                return false;
            }
        }
        true
    }

    fn on_queue_ready(&mut self, queue: u32) {
        while let Ok(Some(line)) = self.dequeue_shared_queue(queue) {
            log::info!("took {}", String::from_utf8_lossy(&line));
        }
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http { which: self.which.clone(), queue: self.queue, metrics: self.metrics }))
    }

    fn create_stream_context(&self, _id: u32) -> Option<Box<dyn StreamContext>> {
        Some(Box::new(Tcp { received: 0 }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(if self.which == "tcp" { ContextType::StreamContext } else { ContextType::HttpContext })
    }
}

struct Http {
    which: String,
    queue: u32,
    metrics: [u32; 3],
}

impl Http {
    fn count(&self) -> u64 {
        loop {
            let (value, cas) = self.get_shared_data("count");
            let count = value.map_or(0, |bytes| String::from_utf8(bytes).unwrap().parse::<u64>().unwrap()) + 1;
            match self.set_shared_data("count", Some(count.to_string().as_bytes()), cas) {
                Err(Status::CasMismatch) => continue,
                _ => return count,
            }
        }
    }

    fn text(&self, path: Vec<&str>) -> String {
        self.get_property(path).map_or("nothing".to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Context for Http {
    fn on_http_call_response(&mut self, _token: u32, _headers: usize, size: usize, _trailers: usize) {
        let status = self.get_http_call_response_header(":status").unwrap_or_default();
        let user = self.get_http_call_response_body(0, size).unwrap_or_default();
        if status == "200" {
            self.set_http_request_header("x-user", Some(&String::from_utf8(user).unwrap()));
            self.resume_http_request();
        } else {
            self.send_http_response(403, vec![("x-why", "callout")], Some(b"denied"));
        }
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, count: usize, _end: bool) -> Action {
        match self.which.as_str() {
            "headers" => {
                let path = self.get_http_request_header(":path").unwrap_or_default();
                self.set_http_request_header("x-path", Some(&path));
                self.set_http_request_header("x-internal", None);
                self.add_http_request_header("x-list", "b");
                log::info!("{} headers", count);
            }
            "body" => self.set_http_request_header("content-length", None),
            "callout" => {
                let headers = vec![(":method", "GET"), (":path", "/who"), (":authority", "auth")];
                match self.dispatch_http_call("alt", headers, None, vec![], Duration::from_secs(1)) {
                    Ok(_) => return Action::Pause,
                    Err(status) => log::error!("no call: {}", status as u32),
                }
            }
            "shared" => self.set_http_request_header("x-count", Some(&self.count().to_string())),
            "queue" => {
                let path = self.get_http_request_header(":path").unwrap_or_default();
                self.enqueue_shared_queue(self.queue, Some(path.as_bytes())).unwrap();
            }
            "metrics" => {
                let [requests, open, sizes] = self.metrics;
                proxy_wasm::hostcalls::increment_metric(requests, 2).unwrap();
                proxy_wasm::hostcalls::record_metric(open, 7).unwrap();
                proxy_wasm::hostcalls::record_metric(sizes, 100).unwrap();
                log::info!(
                    "requests {} open {}",
                    proxy_wasm::hostcalls::get_metric(requests).unwrap(),
                    proxy_wasm::hostcalls::get_metric(open).unwrap()
                );
            }
            "properties" => {
                log::info!("path {}", self.text(vec!["request", "path"]));
                log::info!("root {}", self.text(vec!["plugin_root_id"]));
                log::info!("none {}", self.text(vec!["no", "such"]));
                self.set_property(vec!["mark"], Some(b"set"));
                log::info!("mark {}", self.text(vec!["mark"]));
            }
            _ => {}
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if self.which != "body" {
            return Action::Continue;
        }
        if !end {
            return Action::Pause;
        }
        let text = String::from_utf8(self.get_http_request_body(0, size).unwrap_or_default()).unwrap();
        self.set_http_request_body(0, size, format!("[{}]", text.to_uppercase()).as_bytes());
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        if self.which == "headers" {
            let status = self.get_http_response_header(":status").unwrap_or_default();
            self.add_http_response_header("x-status", &status);
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        if self.which == "properties" {
            log::info!("code details {}", self.text(vec!["response", "code_details"]));
        }
    }
}

struct Tcp {
    received: usize,
}

impl Context for Tcp {}

impl StreamContext for Tcp {
    fn on_new_connection(&mut self) -> Action {
        log::info!("new connection");
        Action::Continue
    }

    fn on_downstream_data(&mut self, size: usize, end: bool) -> Action {
        if size > 0 {
            let data: Bytes = self.get_downstream_data(0, size).unwrap_or_default();
            self.set_downstream_data(0, size, &data.to_ascii_uppercase());
        }
        log::info!("downstream {} {}", size, end);
        Action::Continue
    }

    fn on_upstream_data(&mut self, size: usize, _end: bool) -> Action {
        self.received += size;
        Action::Continue
    }

    fn on_log(&mut self) {
        log::info!("upstream sent {}", self.received);
    }
}
