@zeros = private constant [16 x i8] zeroinitializer
!0 = !{i32 1}

declare i64 @llvm.smin.i64(i64, i64)
declare <16 x i16> @llvm.masked.load.v16i16.p0(ptr, <16 x i1>, <16 x i16>)
declare void @llvm.masked.store.v16i16.p0(<16 x i16>, ptr, <16 x i1>)
declare void @facula_parallel(ptr, ptr, i64)

define internal void @task(ptr %record, i64 %number) #0 {
entry:
  %.4 = alloca i64
  %at.out.ptr = getelementptr i64, ptr %record, i64 0
  %out.ptr = load ptr, ptr %at.out.ptr, align 8
  %at.x.ptr = getelementptr i64, ptr %record, i64 1
  %x.ptr = load ptr, ptr %at.x.ptr, align 8
  %at.n0 = getelementptr i64, ptr %record, i64 2
  %n0 = load i64, ptr %at.n0, align 8
  %at.stream = getelementptr i64, ptr %record, i64 3
  %stream = load i64, ptr %at.stream, align 8
  %at.chunk = getelementptr i64, ptr %record, i64 6
  %chunk = load i64, ptr %at.chunk, align 8
  %streaming = trunc i64 %stream to i1
  %.1 = mul i64 %number, %chunk
  %.2 = add i64 %.1, %chunk
  %.3 = call i64 @llvm.smin.i64(i64 %.2, i64 %n0)
  store i64 %.1, ptr %.4
  %.6 = sub i64 %.3, 64
  %.7 = add i64 %.6, 1
  %.8 = icmp slt i64 %.1, %.7
  br i1 %.8, label %loop.5, label %done.5
loop.5:
  %.9 = phi i64 [ %.1, %entry ], [ %.30, %stored.28 ]
  %.10 = mul i64 %.9, 2
  %.11 = getelementptr i8, ptr %x.ptr, i64 %.10
  %.12 = load <64 x i16>, ptr %.11, align 2
  %.13 = zext <64 x i16> %.12 to <64 x i32>
  %.14 = shl <64 x i32> %.13, splat (i32 16)
  %.15 = bitcast <64 x i32> %.14 to <64 x float>
  %.16 = fmul <64 x float> %.15, splat (float 0x3FE0000000000000)
  %.17 = mul i64 %.9, 2
  %.18 = getelementptr i8, ptr %out.ptr, i64 %.17
  %.19 = bitcast <64 x float> %.16 to <64 x i32>
  %.20 = lshr <64 x i32> %.19, splat (i32 16)
  %.21 = and <64 x i32> %.20, splat (i32 1)
  %.22 = add <64 x i32> %.19, %.21
  %.23 = add <64 x i32> %.22, splat (i32 32767)
  %.24 = lshr <64 x i32> %.23, splat (i32 16)
  %.25 = fcmp uno <64 x float> %.16, %.16
  %.26 = select <64 x i1> %.25, <64 x i32> splat (i32 32704), <64 x i32> %.24
  %.27 = trunc <64 x i32> %.26 to <64 x i16>
  br i1 %streaming, label %past.28, label %plain.28
past.28:
  store <64 x i16> %.27, ptr %.18, align 64, !nontemporal !0
  br label %stored.28
plain.28:
  store <64 x i16> %.27, ptr %.18, align 2
  br label %stored.28
stored.28:
  %.29 = add i64 %.9, 64
  store i64 %.29, ptr %.4
  %.30 = add i64 %.9, 64
  %.31 = icmp slt i64 %.30, %.7
  br i1 %.31, label %loop.5, label %done.5
done.5:
  %.32 = load i64, ptr %.4
  %.34 = icmp slt i64 %.32, %.3
  br i1 %.34, label %loop.33, label %done.33
loop.33:
  %.35 = phi i64 [ %.32, %done.5 ], [ %.64, %stored.63 ]
  %.36 = sub i64 %.3, %.35
  %.37 = call i64 @llvm.smin.i64(i64 %.36, i64 16)
  %.38 = sub i64 16, %.37
  %.39 = trunc i64 %.38 to i16
  %.40 = lshr i16 -1, %.39
  %.41 = bitcast i16 %.40 to <16 x i1>
  %.42 = mul i64 %.35, 2
  %.43 = getelementptr i8, ptr %x.ptr, i64 %.42
  %.44 = call <16 x i16> @llvm.masked.load.v16i16.p0(ptr align 2 %.43, <16 x i1> %.41, <16 x i16> zeroinitializer)
  %.45 = zext <16 x i16> %.44 to <16 x i32>
  %.46 = shl <16 x i32> %.45, splat (i32 16)
  %.47 = bitcast <16 x i32> %.46 to <16 x float>
  %.48 = fmul <16 x float> %.47, splat (float 0x3FE0000000000000)
  %.49 = mul i64 %.35, 2
  %.50 = getelementptr i8, ptr %out.ptr, i64 %.49
  %.51 = bitcast <16 x float> %.48 to <16 x i32>
  %.52 = lshr <16 x i32> %.51, splat (i32 16)
  %.53 = and <16 x i32> %.52, splat (i32 1)
  %.54 = add <16 x i32> %.51, %.53
  %.55 = add <16 x i32> %.54, splat (i32 32767)
  %.56 = lshr <16 x i32> %.55, splat (i32 16)
  %.57 = fcmp uno <16 x float> %.48, %.48
  %.58 = select <16 x i1> %.57, <16 x i32> splat (i32 32704), <16 x i32> %.56
  %.59 = trunc <16 x i32> %.58 to <16 x i16>
  %.60 = add i64 %.35, 16
  %.61 = icmp sle i64 %.60, %.3
  %.62 = and i1 %streaming, %.61
  br i1 %.62, label %past.63, label %plain.63
past.63:
  store <16 x i16> %.59, ptr %.50, align 32, !nontemporal !0
  br label %stored.63
plain.63:
  call void @llvm.masked.store.v16i16.p0(<16 x i16> %.59, ptr align 2 %.50, <16 x i1> %.41)
  br label %stored.63
stored.63:
  %.64 = add i64 %.35, 16
  %.65 = icmp slt i64 %.64, %.3
  br i1 %.65, label %loop.33, label %done.33
done.33:
  br i1 %streaming, label %then.66, label %done.66, !prof !{!"branch_weights", i32 1, i32 1000}
then.66:
  fence seq_cst
  br label %done.66
done.66:
  ret void
}

define void @run(ptr %out.ptr, ptr %x.ptr, i64 %n0) #0 {
entry:
  %record = alloca [15 x i64]
  %.1 = getelementptr i64, ptr %record, i64 0
  store ptr %out.ptr, ptr %.1, align 8
  %.2 = getelementptr i64, ptr %record, i64 1
  store ptr %x.ptr, ptr %.2, align 8
  %.3 = getelementptr i64, ptr %record, i64 2
  store i64 %n0, ptr %.3, align 8
  %.4 = icmp eq i64 %n0, 0
  br i1 %.4, label %leave, label %work
work:
  %.5 = getelementptr i64, ptr %record, i64 6
  store i64 %n0, ptr %.5, align 8
  %.6 = getelementptr i64, ptr %record, i64 3
  store i64 0, ptr %.6, align 8
  %.7 = icmp sgt i64 %n0, 111111
  br i1 %.7, label %then.8, label %done.8
then.8:
  %.9 = getelementptr i64, ptr %record, i64 6
  store i64 44416, ptr %.9, align 8
  %.10 = icmp sge i64 %n0, 4194304
  %.11 = ptrtoint ptr %out.ptr to i64
  %.12 = and i64 %.11, 63
  %.13 = icmp eq i64 %.12, 0
  %.14 = and i1 %.10, %.13
  %.15 = icmp ne ptr %out.ptr, %x.ptr
  %.16 = and i1 %.14, %.15
  %.17 = zext i1 %.16 to i64
  %.18 = getelementptr i64, ptr %record, i64 3
  store i64 %.17, ptr %.18, align 8
  %.19 = add i64 %n0, 44415
  %.20 = udiv i64 %.19, 44416
  call void @facula_parallel(ptr @task, ptr %record, i64 %.20)
  br label %leave
never.21:
  br label %done.8
done.8:
  call void @task(ptr %record, i64 0)
  br label %leave
leave:
  ret void
}

attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }
