@zeros = private constant [16 x i8] zeroinitializer
!0 = !{i32 1}

declare i64 @llvm.smin.i64(i64, i64)
declare i32 @llvm.cttz.i32(i32, i1)
declare <32 x float> @llvm.masked.gather.v32f32.v32p0(<32 x ptr>, <32 x i1>, <32 x float>)
declare <8 x i64> @llvm.masked.load.v8i64.p0(ptr, <8 x i1>, <8 x i64>)
declare i8 @llvm.cttz.i8(i8, i1)
declare <8 x float> @llvm.masked.gather.v8f32.v8p0(<8 x ptr>, <8 x i1>, <8 x float>)
declare void @llvm.masked.store.v8f32.p0(<8 x float>, ptr, <8 x i1>)
declare ptr @malloc(i64)
declare void @free(ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @facula_parallel(ptr, ptr, i64)

define internal void @note(ptr %marks, i64 %number, i64 %position, i64 %value) nounwind cold {
entry:
  br label %try
try:
  %old = atomicrmw xchg ptr %marks, i64 1 acquire
  %free = icmp eq i64 %old, 0
  br i1 %free, label %look, label %try
look:
  %twice = shl i64 %number, 1
  %slot = add i64 %twice, 1
  %at = getelementptr i64, ptr %marks, i64 %slot
  %best = load i64, ptr %at
  %lower = icmp slt i64 %position, %best
  br i1 %lower, label %keep, label %leave
keep:
  store i64 %position, ptr %at
  %value.at = getelementptr i64, ptr %at, i64 1
  store i64 %value, ptr %value.at
  br label %leave
leave:
  store atomic i64 0, ptr %marks release, align 8
  ret void
}

define internal i64 @failed(ptr %marks) nounwind {
entry:
  br label %c0
c0:
  %at0 = getelementptr i64, ptr %marks, i64 1
  %p0 = load i64, ptr %at0
  %bad0 = icmp ne i64 %p0, 9223372036854775807
  br i1 %bad0, label %f0, label %c1
f0:
  %value.at0 = getelementptr i64, ptr %at0, i64 1
  %value0 = load i64, ptr %value.at0
  %m0 = call ptr @malloc(i64 16)
  store i64 0, ptr %m0
  %mv0 = getelementptr i64, ptr %m0, i64 1
  store i64 %value0, ptr %mv0
  %r0 = ptrtoint ptr %m0 to i64
  ret i64 %r0
c1:
  ret i64 0
}

define internal void @task(ptr %record, i64 %number) #0 {
entry:
  %.4 = alloca i64
  %at.out.ptr = getelementptr i64, ptr %record, i64 0
  %out.ptr = load ptr, ptr %at.out.ptr, align 8
  %at.i.ptr = getelementptr i64, ptr %record, i64 1
  %i.ptr = load ptr, ptr %at.i.ptr, align 8
  %at.x.ptr = getelementptr i64, ptr %record, i64 2
  %x.ptr = load ptr, ptr %at.x.ptr, align 8
  %at.param.size = getelementptr i64, ptr %record, i64 3
  %param.size = load i64, ptr %at.param.size, align 8
  %at.n0 = getelementptr i64, ptr %record, i64 4
  %n0 = load i64, ptr %at.n0, align 8
  %at.stream = getelementptr i64, ptr %record, i64 5
  %stream = load i64, ptr %at.stream, align 8
  %at.chunk = getelementptr i64, ptr %record, i64 8
  %chunk = load i64, ptr %at.chunk, align 8
  %at.fail = getelementptr i64, ptr %record, i64 10
  %fail = load i64, ptr %at.fail, align 8
  %streaming = trunc i64 %stream to i1
  %failures = inttoptr i64 %fail to ptr
  %.1 = mul i64 %number, %chunk
  %.2 = add i64 %.1, %chunk
  %.3 = call i64 @llvm.smin.i64(i64 %.2, i64 %n0)
  store i64 %.1, ptr %.4
  %.6 = sub i64 %.3, 32
  %.7 = add i64 %.6, 1
  %.8 = icmp slt i64 %.1, %.7
  br i1 %.8, label %loop.5, label %done.5
loop.5:
  %.9 = phi i64 [ %.1, %entry ], [ %.35, %stored.33 ]
  %.10 = mul i64 %.9, 8
  %.11 = getelementptr i8, ptr %i.ptr, i64 %.10
  %.12 = load <32 x i64>, ptr %.11, align 8
  %.13 = icmp sge <32 x i64> %.12, splat (i64 0)
  %.14 = insertelement <32 x i64> poison, i64 %param.size, i64 0
  %.15 = shufflevector <32 x i64> %.14, <32 x i64> poison, <32 x i32> zeroinitializer
  %.16 = icmp slt <32 x i64> %.12, %.15
  %.17 = and <32 x i1> %.13, %.16
  %.18 = xor <32 x i1> %.17, splat (i1 true)
  %.19 = bitcast <32 x i1> %.18 to i32
  %.20 = icmp ne i32 %.19, 0
  br i1 %.20, label %then.21, label %done.21, !prof !{!"branch_weights", i32 1, i32 1000}
then.21:
  %.22 = call i32 @llvm.cttz.i32(i32 %.19, i1 true)
  %.23 = zext i32 %.22 to i64
  %.24 = extractelement <32 x i64> %.12, i64 %.23
  %.25 = add i64 %.9, %.23
  %.26 = mul i64 0, %n0
  %.27 = add i64 %.26, %.25
  call void @note(ptr %failures, i64 0, i64 %.27, i64 %.24)
  br label %done.21
done.21:
  %.28 = mul <32 x i64> %.12, splat (i64 4)
  %.29 = getelementptr i8, ptr %x.ptr, <32 x i64> %.28
  %.30 = call <32 x float> @llvm.masked.gather.v32f32.v32p0(<32 x ptr> align 4 %.29, <32 x i1> %.17, <32 x float> zeroinitializer)
  %.31 = mul i64 %.9, 4
  %.32 = getelementptr i8, ptr %out.ptr, i64 %.31
  br i1 %streaming, label %past.33, label %plain.33
past.33:
  store <32 x float> %.30, ptr %.32, align 64, !nontemporal !0
  br label %stored.33
plain.33:
  store <32 x float> %.30, ptr %.32, align 4
  br label %stored.33
stored.33:
  %.34 = add i64 %.9, 32
  store i64 %.34, ptr %.4
  %.35 = add i64 %.9, 32
  %.36 = icmp slt i64 %.35, %.7
  br i1 %.36, label %loop.5, label %done.5
done.5:
  %.37 = load i64, ptr %.4
  %.39 = icmp slt i64 %.37, %.3
  br i1 %.39, label %loop.38, label %done.38
loop.38:
  %.40 = phi i64 [ %.37, %done.5 ], [ %.76, %stored.75 ]
  %.41 = sub i64 %.3, %.40
  %.42 = call i64 @llvm.smin.i64(i64 %.41, i64 8)
  %.43 = sub i64 8, %.42
  %.44 = trunc i64 %.43 to i8
  %.45 = lshr i8 -1, %.44
  %.46 = bitcast i8 %.45 to <8 x i1>
  %.47 = mul i64 %.40, 8
  %.48 = getelementptr i8, ptr %i.ptr, i64 %.47
  %.49 = call <8 x i64> @llvm.masked.load.v8i64.p0(ptr align 8 %.48, <8 x i1> %.46, <8 x i64> zeroinitializer)
  %.50 = icmp sge <8 x i64> %.49, splat (i64 0)
  %.51 = insertelement <8 x i64> poison, i64 %param.size, i64 0
  %.52 = shufflevector <8 x i64> %.51, <8 x i64> poison, <8 x i32> zeroinitializer
  %.53 = icmp slt <8 x i64> %.49, %.52
  %.54 = and <8 x i1> %.50, %.53
  %.55 = xor <8 x i1> %.54, splat (i1 true)
  %.56 = and <8 x i1> %.55, %.46
  %.57 = bitcast <8 x i1> %.56 to i8
  %.58 = icmp ne i8 %.57, 0
  br i1 %.58, label %then.59, label %done.59, !prof !{!"branch_weights", i32 1, i32 1000}
then.59:
  %.60 = call i8 @llvm.cttz.i8(i8 %.57, i1 true)
  %.61 = zext i8 %.60 to i64
  %.62 = extractelement <8 x i64> %.49, i64 %.61
  %.63 = add i64 %.40, %.61
  %.64 = mul i64 0, %n0
  %.65 = add i64 %.64, %.63
  call void @note(ptr %failures, i64 0, i64 %.65, i64 %.62)
  br label %done.59
done.59:
  %.66 = and <8 x i1> %.46, %.54
  %.67 = mul <8 x i64> %.49, splat (i64 4)
  %.68 = getelementptr i8, ptr %x.ptr, <8 x i64> %.67
  %.69 = call <8 x float> @llvm.masked.gather.v8f32.v8p0(<8 x ptr> align 4 %.68, <8 x i1> %.66, <8 x float> zeroinitializer)
  %.70 = mul i64 %.40, 4
  %.71 = getelementptr i8, ptr %out.ptr, i64 %.70
  %.72 = add i64 %.40, 8
  %.73 = icmp sle i64 %.72, %.3
  %.74 = and i1 %streaming, %.73
  br i1 %.74, label %past.75, label %plain.75
past.75:
  store <8 x float> %.69, ptr %.71, align 32, !nontemporal !0
  br label %stored.75
plain.75:
  call void @llvm.masked.store.v8f32.p0(<8 x float> %.69, ptr align 4 %.71, <8 x i1> %.46)
  br label %stored.75
stored.75:
  %.76 = add i64 %.40, 8
  %.77 = icmp slt i64 %.76, %.3
  br i1 %.77, label %loop.38, label %done.38
done.38:
  br i1 %streaming, label %then.78, label %done.78, !prof !{!"branch_weights", i32 1, i32 1000}
then.78:
  fence seq_cst
  br label %done.78
done.78:
  ret void
}

define i64 @run(ptr %out.ptr, ptr %i.ptr, ptr %x.ptr, i64 %param.size, i64 %n0) #0 {
entry:
  %record = alloca [17 x i64]
  %marks = alloca [3 x i64]
  %.1 = getelementptr i64, ptr %record, i64 0
  store ptr %out.ptr, ptr %.1, align 8
  %.2 = getelementptr i64, ptr %record, i64 1
  store ptr %i.ptr, ptr %.2, align 8
  %.3 = getelementptr i64, ptr %record, i64 2
  store ptr %x.ptr, ptr %.3, align 8
  %.4 = getelementptr i64, ptr %record, i64 3
  store i64 %param.size, ptr %.4, align 8
  %.5 = getelementptr i64, ptr %record, i64 4
  store i64 %n0, ptr %.5, align 8
  store i64 0, ptr %marks
  %.6 = getelementptr i64, ptr %marks, i64 1
  store i64 9223372036854775807, ptr %.6
  %.7 = ptrtoint ptr %marks to i64
  %.8 = getelementptr i64, ptr %record, i64 10
  store i64 %.7, ptr %.8, align 8
  %.9 = icmp eq i64 %n0, 0
  br i1 %.9, label %leave, label %work
work:
  %.10 = getelementptr i64, ptr %record, i64 8
  store i64 %n0, ptr %.10, align 8
  %.11 = getelementptr i64, ptr %record, i64 5
  store i64 0, ptr %.11, align 8
  %.12 = icmp sgt i64 %n0, 47619
  br i1 %.12, label %then.13, label %done.13
then.13:
  %.14 = getelementptr i64, ptr %record, i64 8
  store i64 19008, ptr %.14, align 8
  %.15 = icmp sge i64 %n0, 2097152
  %.16 = ptrtoint ptr %out.ptr to i64
  %.17 = and i64 %.16, 63
  %.18 = icmp eq i64 %.17, 0
  %.19 = and i1 %.15, %.18
  %.20 = icmp ne ptr %out.ptr, %i.ptr
  %.21 = and i1 %.19, %.20
  %.22 = icmp ne ptr %out.ptr, %x.ptr
  %.23 = and i1 %.21, %.22
  %.24 = zext i1 %.23 to i64
  %.25 = getelementptr i64, ptr %record, i64 5
  store i64 %.24, ptr %.25, align 8
  %.26 = add i64 %n0, 19007
  %.27 = udiv i64 %.26, 19008
  call void @facula_parallel(ptr @task, ptr %record, i64 %.27)
  br label %leave
never.28:
  br label %done.13
done.13:
  call void @task(ptr %record, i64 0)
  br label %leave
leave:
  %.29 = call i64 @failed(ptr %marks)
  ret i64 %.29
}

attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }
