;; The body workload by hand: headers held, the body buffered by Envoy, read once at its end, counted, the count written to a header.
(module
  (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 16) "x-count")
  (func (export "malloc") (param i32) (result i32) (i32.const 4096))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (i32.eqz (local.get 2)))
  (func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
    (local $i i32) (local $count i32) (local $to i32)
    (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
    (drop (call $get (i32.const 0) (i32.const 0) (local.get $size) (i32.const 0) (i32.const 4)))
    (local.set $i (i32.load (i32.const 0)))
    (local.set $size (i32.add (local.get $i) (i32.load (i32.const 4))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $size)))
        (local.set $count (i32.add (local.get $count) (i32.eq (i32.load8_u (local.get $i)) (i32.const 97))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.set $to (i32.const 64))
    (loop $digit
      (local.set $to (i32.sub (local.get $to) (i32.const 1)))
      (i32.store8 (local.get $to) (i32.add (i32.const 48) (i32.rem_u (local.get $count) (i32.const 10))))
      (br_if $digit (local.tee $count (i32.div_u (local.get $count) (i32.const 10)))))
    (drop (call $set (i32.const 0) (i32.const 16) (i32.const 7) (local.get $to) (i32.sub (i32.const 64) (local.get $to))))
    (i32.const 0)))
