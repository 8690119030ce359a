;; The headers workload by hand: three single reads, two adds, one remove; results land in one fixed buffer. Pauses for user "hold".
(module
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
  (import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 16) "user-agentacceptx-userx-addedx-servedyesserver-timingnever")
  (data (i32.const 128) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\05\00\00\00:method\00GET\00:path\00/\00:authority\00never\00")
  (func (export "malloc") (param i32) (result i32) (i32.const 4096))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    ;; A status other than 0 says that the header is missing.
    (if (call $get (i32.const 0) (i32.const 16) (i32.const 10) (i32.const 0) (i32.const 4)) (then (return (i32.const 0))))
    (if (call $get (i32.const 0) (i32.const 26) (i32.const 6) (i32.const 0) (i32.const 4)) (then (return (i32.const 0))))
    (if (call $get (i32.const 0) (i32.const 32) (i32.const 6) (i32.const 0) (i32.const 4)) (then (return (i32.const 0))))
    (if (i32.eq (i32.load (i32.load (i32.const 0))) (i32.const 0x646c6f68)) ;; "hold"
      (then
        (drop (call $call (i32.const 69) (i32.const 5) (i32.const 128) (i32.const 65) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 3600000) (i32.const 8)))
        (return (i32.const 4))))
    (drop (call $add (i32.const 0) (i32.const 38) (i32.const 7) (i32.load (i32.const 0)) (i32.load (i32.const 4))))
    (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (drop (call $add (i32.const 2) (i32.const 45) (i32.const 8) (i32.const 53) (i32.const 3)))
    (drop (call $remove (i32.const 2) (i32.const 56) (i32.const 13)))
    (i32.const 0)))
