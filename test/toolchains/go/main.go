// The filters of this folder in Go, straight against the ABI: no SDK, go:wasmimport and go:wasmexport. The plugin's configuration says which one.
package main

import (
	"bytes"
	"fmt"
	"strconv"
	"unsafe"
)

const (
	requestHeaders      = 0
	responseHeaders     = 2
	callResponseHeaders = 6

	requestBody         = 0
	downstreamData      = 2
	callResponseBody    = 4
	pluginConfiguration = 7

	ok          = 0
	casMismatch = 8

	info  = 2
	error = 4
)

//go:wasmimport env proxy_log
func hostLog(level uint32, text unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_header_map_value
func hostGetHeader(kind uint32, name unsafe.Pointer, nameSize uint32, value, size unsafe.Pointer) uint32

//go:wasmimport env proxy_replace_header_map_value
func hostSetHeader(kind uint32, name unsafe.Pointer, nameSize uint32, value unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_add_header_map_value
func hostAddHeader(kind uint32, name unsafe.Pointer, nameSize uint32, value unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_remove_header_map_value
func hostRemoveHeader(kind uint32, name unsafe.Pointer, nameSize uint32) uint32

//go:wasmimport env proxy_get_buffer_bytes
func hostGetBuffer(kind, start, count uint32, value, size unsafe.Pointer) uint32

//go:wasmimport env proxy_set_buffer_bytes
func hostSetBuffer(kind, start, count uint32, value unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_http_call
func hostCall(cluster unsafe.Pointer, clusterSize uint32, headers unsafe.Pointer, headersSize uint32, body unsafe.Pointer, bodySize uint32, trailers unsafe.Pointer, trailersSize uint32, timeout uint32, token unsafe.Pointer) uint32

//go:wasmimport env proxy_set_effective_context
func hostEffective(id uint32) uint32

//go:wasmimport env proxy_continue_stream
func hostContinue(kind uint32) uint32

//go:wasmimport env proxy_send_local_response
func hostReply(status uint32, details unsafe.Pointer, detailsSize uint32, body unsafe.Pointer, bodySize uint32, headers unsafe.Pointer, headersSize uint32, grpc int32) uint32

//go:wasmimport env proxy_get_shared_data
func hostGetShared(key unsafe.Pointer, keySize uint32, value, size, cas unsafe.Pointer) uint32

//go:wasmimport env proxy_set_shared_data
func hostSetShared(key unsafe.Pointer, keySize uint32, value unsafe.Pointer, size uint32, cas uint32) uint32

//go:wasmimport env proxy_register_shared_queue
func hostRegisterQueue(name unsafe.Pointer, size uint32, token unsafe.Pointer) uint32

//go:wasmimport env proxy_enqueue_shared_queue
func hostEnqueue(token uint32, value unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_dequeue_shared_queue
func hostDequeue(token uint32, value, size unsafe.Pointer) uint32

//go:wasmimport env proxy_define_metric
func hostDefineMetric(kind uint32, name unsafe.Pointer, size uint32, id unsafe.Pointer) uint32

//go:wasmimport env proxy_increment_metric
func hostIncrement(id uint32, by int64) uint32

//go:wasmimport env proxy_record_metric
func hostRecord(id uint32, value uint64) uint32

//go:wasmimport env proxy_get_metric
func hostGetMetric(id uint32, value unsafe.Pointer) uint32

//go:wasmimport env proxy_get_property
func hostGetProperty(path unsafe.Pointer, size uint32, value, valueSize unsafe.Pointer) uint32

//go:wasmimport env proxy_set_property
func hostSetProperty(path unsafe.Pointer, size uint32, value unsafe.Pointer, valueSize uint32) uint32

// What the host was given memory for and nobody has taken yet: the collector must not.
var given = map[uint32][]byte{}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) uint32 {
	block := make([]byte, max(size, 1))
	at := uint32(uintptr(unsafe.Pointer(&block[0])))
	given[at] = block
	return at
}

//go:wasmexport malloc
func malloc(size uint32) uint32 { return allocate(size) }

func at(bytes []byte) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.SliceData(bytes)), uint32(len(bytes))
}

func text(s string) (unsafe.Pointer, uint32) { return at([]byte(s)) }

// Takes what the host has put somewhere.
func take(call func(value, size unsafe.Pointer) uint32) (string, bool) {
	var where, size uint32
	if call(unsafe.Pointer(&where), unsafe.Pointer(&size)) != ok {
		return "", false
	}
	block := given[where]
	delete(given, where)
	return string(block[:min(int(size), len(block))]), true
}

func logf(level uint32, format string, args ...any) {
	p, n := text(fmt.Sprintf(format, args...))
	hostLog(level, p, n)
}

func header(kind uint32, name string) string {
	value, _ := take(func(value, size unsafe.Pointer) uint32 {
		p, n := text(name)
		return hostGetHeader(kind, p, n, value, size)
	})
	return value
}

func setHeader(kind uint32, name, value string) {
	p, n := text(name)
	q, m := text(value)
	hostSetHeader(kind, p, n, q, m)
}

func addHeader(kind uint32, name, value string) {
	p, n := text(name)
	q, m := text(value)
	hostAddHeader(kind, p, n, q, m)
}

func removeHeader(kind uint32, name string) {
	p, n := text(name)
	hostRemoveHeader(kind, p, n)
}

func buffer(kind, count uint32) string {
	value, _ := take(func(value, size unsafe.Pointer) uint32 { return hostGetBuffer(kind, 0, count, value, size) })
	return value
}

func setBuffer(kind, count uint32, value string) {
	p, n := text(value)
	hostSetBuffer(kind, 0, count, p, n)
}

func property(path string) string {
	value, found := take(func(value, size unsafe.Pointer) uint32 {
		p, n := text(path)
		return hostGetProperty(p, n, value, size)
	})
	if !found {
		return "nothing"
	}
	return value
}

// A map in the encoding of the ABI.
func pairs(entries ...string) []byte {
	var out bytes.Buffer
	number := func(n int) { out.Write([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}) }
	number(len(entries) / 2)
	for _, entry := range entries {
		number(len(entry))
	}
	for _, entry := range entries {
		out.WriteString(entry)
		out.WriteByte(0)
	}
	return out.Bytes()
}

var (
	which    string
	queue    uint32
	metrics  [3]uint32
	calls    = map[uint32]uint32{}
	received = map[uint32]uint32{}
)

//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

//go:wasmexport proxy_on_configure
func onConfigure(_, size uint32) uint32 {
	which = buffer(pluginConfiguration, size)
	switch which {
	case "headers", "body", "callout", "shared", "properties", "tcp":
	case "queue":
		p, n := text("lines")
		hostRegisterQueue(p, n, unsafe.Pointer(&queue))
	case "metrics":
		for kind, name := range []string{"tool_requests", "tool_open", "tool_sizes"} {
			p, n := text(name)
			hostDefineMetric(uint32(kind), p, n, unsafe.Pointer(&metrics[kind]))
		}
	default:
		logf(error, "no filter is called %s", which)
		return 0
	}
	return 1
}

//go:wasmexport proxy_on_queue_ready
func onQueueReady(_, token uint32) {
	for {
		line, found := take(func(value, size unsafe.Pointer) uint32 { return hostDequeue(token, value, size) })
		if !found {
			return
		}
		logf(info, "took %s", line)
	}
}

func count() uint64 {
	for {
		var cas uint32
		var count uint64
		value, found := take(func(value, size unsafe.Pointer) uint32 {
			p, n := text("count")
			return hostGetShared(p, n, value, size, unsafe.Pointer(&cas))
		})
		if found {
			count, _ = strconv.ParseUint(value, 10, 64)
		} else {
			cas = 0
		}
		p, n := text("count")
		q, m := text(strconv.FormatUint(count+1, 10))
		if hostSetShared(p, n, q, m, cas) != casMismatch {
			return count + 1
		}
	}
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(id, count_, _ uint32) uint32 {
	switch which {
	case "headers":
		setHeader(requestHeaders, "x-path", header(requestHeaders, ":path"))
		removeHeader(requestHeaders, "x-internal")
		addHeader(requestHeaders, "x-list", "b")
		logf(info, "%d headers", count_)
	case "body":
		removeHeader(requestHeaders, "content-length")
	case "callout":
		var token uint32
		p, n := text("alt")
		q, m := at(pairs(":method", "GET", ":path", "/who", ":authority", "auth"))
		if status := hostCall(p, n, q, m, nil, 0, nil, 0, 1000, unsafe.Pointer(&token)); status != ok {
			logf(error, "no call: %d", status)
			return 0
		}
		calls[token] = id
		return 4
	case "shared":
		setHeader(requestHeaders, "x-count", strconv.FormatUint(count(), 10))
	case "queue":
		p, n := text(header(requestHeaders, ":path"))
		hostEnqueue(queue, p, n)
	case "metrics":
		var requests, open uint64
		hostIncrement(metrics[0], 2)
		hostRecord(metrics[1], 7)
		hostRecord(metrics[2], 100)
		hostGetMetric(metrics[0], unsafe.Pointer(&requests))
		hostGetMetric(metrics[1], unsafe.Pointer(&open))
		logf(info, "requests %d open %d", requests, open)
	case "properties":
		logf(info, "path %s", property("request\x00path"))
		logf(info, "root %s", property("plugin_root_id"))
		logf(info, "none %s", property("no\x00such"))
		p, n := text("mark")
		q, m := text("set")
		hostSetProperty(p, n, q, m)
		logf(info, "mark %s", property("mark"))
	}
	return 0
}

//go:wasmexport proxy_on_http_call_response
func onHttpCallResponse(_, token, _, size, _ uint32) {
	hostEffective(calls[token])
	delete(calls, token)
	if header(callResponseHeaders, ":status") == "200" {
		setHeader(requestHeaders, "x-user", buffer(callResponseBody, size))
		hostContinue(0)
		return
	}
	p, n := text("denied")
	q, m := at(pairs("x-why", "callout"))
	hostReply(403, nil, 0, p, n, q, m, -1)
}

//go:wasmexport proxy_on_request_body
func onRequestBody(_, size, end uint32) uint32 {
	if which != "body" {
		return 0
	}
	if end == 0 {
		return 1
	}
	setBuffer(requestBody, size, "["+string(bytes.ToUpper([]byte(buffer(requestBody, size))))+"]")
	return 0
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(_, _, _ uint32) uint32 {
	if which == "headers" {
		addHeader(responseHeaders, "x-status", header(responseHeaders, ":status"))
	}
	return 0
}

//go:wasmexport proxy_on_new_connection
func onNewConnection(_ uint32) uint32 {
	logf(info, "new connection")
	return 0
}

//go:wasmexport proxy_on_downstream_data
func onDownstreamData(_, size, end uint32) uint32 {
	if size > 0 {
		setBuffer(downstreamData, size, string(bytes.ToUpper([]byte(buffer(downstreamData, size)))))
	}
	logf(info, "downstream %d %t", size, end != 0)
	return 0
}

//go:wasmexport proxy_on_upstream_data
func onUpstreamData(id, size, _ uint32) uint32 {
	received[id] += size
	return 0
}

//go:wasmexport proxy_on_log
func onLog(id uint32) {
	if which == "tcp" {
		logf(info, "upstream sent %d", received[id])
	}
	if which == "properties" {
		logf(info, "code details %s", property("response\x00code_details"))
	}
}

func main() {}
