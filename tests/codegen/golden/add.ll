@zeros = private constant [16 x i8] zeroinitializer
!0 = !{i32 1}

declare i64 @llvm.smin.i64(i64, i64)
declare <16 x float> @llvm.masked.load.v16f32.p0(ptr, <16 x i1>, <16 x float>)
declare void @llvm.masked.store.v16f32.p0(<16 x float>, ptr, <16 x i1>)
declare void @facula_parallel(ptr, ptr, i64)

define internal void @task(ptr %record, i64 %number) #0 {
entry:
  %.4 = alloca i64
  %at.out.ptr = getelementptr i64, ptr %record, i64 0
  %out.ptr = load ptr, ptr %at.out.ptr, align 8
  %at.x.ptr = getelementptr i64, ptr %record, i64 1
  %x.ptr = load ptr, ptr %at.x.ptr, align 8
  %at.y.ptr = getelementptr i64, ptr %record, i64 2
  %y.ptr = load ptr, ptr %at.y.ptr, align 8
  %at.n0 = getelementptr i64, ptr %record, i64 3
  %n0 = load i64, ptr %at.n0, align 8
  %at.stream = getelementptr i64, ptr %record, i64 4
  %stream = load i64, ptr %at.stream, align 8
  %at.chunk = getelementptr i64, ptr %record, i64 7
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
  %.9 = phi i64 [ %.1, %entry ], [ %.21, %stored.19 ]
  %.10 = mul i64 %.9, 4
  %.11 = getelementptr i8, ptr %x.ptr, i64 %.10
  %.12 = load <64 x float>, ptr %.11, align 4
  %.13 = mul i64 %.9, 4
  %.14 = getelementptr i8, ptr %y.ptr, i64 %.13
  %.15 = load <64 x float>, ptr %.14, align 4
  %.16 = fadd <64 x float> %.12, %.15
  %.17 = mul i64 %.9, 4
  %.18 = getelementptr i8, ptr %out.ptr, i64 %.17
  br i1 %streaming, label %past.19, label %plain.19
past.19:
  store <64 x float> %.16, ptr %.18, align 64, !nontemporal !0
  br label %stored.19
plain.19:
  store <64 x float> %.16, ptr %.18, align 4
  br label %stored.19
stored.19:
  %.20 = add i64 %.9, 64
  store i64 %.20, ptr %.4
  %.21 = add i64 %.9, 64
  %.22 = icmp slt i64 %.21, %.7
  br i1 %.22, label %loop.5, label %done.5
done.5:
  %.23 = load i64, ptr %.4
  %.25 = icmp slt i64 %.23, %.3
  br i1 %.25, label %loop.24, label %done.24
loop.24:
  %.26 = phi i64 [ %.23, %done.5 ], [ %.46, %stored.45 ]
  %.27 = sub i64 %.3, %.26
  %.28 = call i64 @llvm.smin.i64(i64 %.27, i64 16)
  %.29 = sub i64 16, %.28
  %.30 = trunc i64 %.29 to i16
  %.31 = lshr i16 -1, %.30
  %.32 = bitcast i16 %.31 to <16 x i1>
  %.33 = mul i64 %.26, 4
  %.34 = getelementptr i8, ptr %x.ptr, i64 %.33
  %.35 = call <16 x float> @llvm.masked.load.v16f32.p0(ptr align 4 %.34, <16 x i1> %.32, <16 x float> zeroinitializer)
  %.36 = mul i64 %.26, 4
  %.37 = getelementptr i8, ptr %y.ptr, i64 %.36
  %.38 = call <16 x float> @llvm.masked.load.v16f32.p0(ptr align 4 %.37, <16 x i1> %.32, <16 x float> zeroinitializer)
  %.39 = fadd <16 x float> %.35, %.38
  %.40 = mul i64 %.26, 4
  %.41 = getelementptr i8, ptr %out.ptr, i64 %.40
  %.42 = add i64 %.26, 16
  %.43 = icmp sle i64 %.42, %.3
  %.44 = and i1 %streaming, %.43
  br i1 %.44, label %past.45, label %plain.45
past.45:
  store <16 x float> %.39, ptr %.41, align 64, !nontemporal !0
  br label %stored.45
plain.45:
  call void @llvm.masked.store.v16f32.p0(<16 x float> %.39, ptr align 4 %.41, <16 x i1> %.32)
  br label %stored.45
stored.45:
  %.46 = add i64 %.26, 16
  %.47 = icmp slt i64 %.46, %.3
  br i1 %.47, label %loop.24, label %done.24
done.24:
  br i1 %streaming, label %then.48, label %done.48, !prof !{!"branch_weights", i32 1, i32 1000}
then.48:
  fence seq_cst
  br label %done.48
done.48:
  ret void
}

define void @run(ptr %out.ptr, ptr %x.ptr, ptr %y.ptr, i64 %n0) #0 {
entry:
  %record = alloca [16 x i64]
  %.1 = getelementptr i64, ptr %record, i64 0
  store ptr %out.ptr, ptr %.1, align 8
  %.2 = getelementptr i64, ptr %record, i64 1
  store ptr %x.ptr, ptr %.2, align 8
  %.3 = getelementptr i64, ptr %record, i64 2
  store ptr %y.ptr, ptr %.3, align 8
  %.4 = getelementptr i64, ptr %record, i64 3
  store i64 %n0, ptr %.4, align 8
  %.5 = icmp eq i64 %n0, 0
  br i1 %.5, label %leave, label %work
work:
  %.6 = getelementptr i64, ptr %record, i64 7
  store i64 %n0, ptr %.6, align 8
  %.7 = getelementptr i64, ptr %record, i64 4
  store i64 0, ptr %.7, align 8
  %.8 = icmp sgt i64 %n0, 83333
  br i1 %.8, label %then.9, label %done.9
then.9:
  %.10 = getelementptr i64, ptr %record, i64 7
  store i64 33280, ptr %.10, align 8
  %.11 = icmp sge i64 %n0, 2097152
  %.12 = ptrtoint ptr %out.ptr to i64
  %.13 = and i64 %.12, 63
  %.14 = icmp eq i64 %.13, 0
  %.15 = and i1 %.11, %.14
  %.16 = icmp ne ptr %out.ptr, %x.ptr
  %.17 = and i1 %.15, %.16
  %.18 = icmp ne ptr %out.ptr, %y.ptr
  %.19 = and i1 %.17, %.18
  %.20 = zext i1 %.19 to i64
  %.21 = getelementptr i64, ptr %record, i64 4
  store i64 %.20, ptr %.21, align 8
  %.22 = add i64 %n0, 33279
  %.23 = udiv i64 %.22, 33280
  call void @facula_parallel(ptr @task, ptr %record, i64 %.23)
  br label %leave
never.24:
  br label %done.9
done.9:
  call void @task(ptr %record, i64 0)
  br label %leave
leave:
  ret void
}

attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }
